package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"ledgergrid/conformance/standin"
)

// judgeStandin judges a log served by handler and returns the report and what was wrong.
func judgeStandin(t *testing.T, vkey string, handler http.Handler) (string, error) {
	t.Helper()
	server := httptest.NewServer(handler)
	defer server.Close()
	j, err := newJudge(config{log: server.URL + "/log", api: server.URL + "/api", vkey: vkey, samples: 3, seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = j.everything(t.Context())
	if err == nil {
		err = j.tally.verdict()
	}
	return j.tally.report(), err
}

func newLog(t *testing.T, size int64, origin string) *standin.Log {
	t.Helper()
	log, err := standin.New(size, origin)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestARightLogPassesAndNoForgeryDoes(t *testing.T) {
	for _, size := range []int64{1, 2, 3, 255, 256, 257, 700} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			log := newLog(t, size, standin.Name)
			if report, err := judgeStandin(t, log.VKey, log); err != nil {
				t.Errorf("%v\n%s", err, report)
			}
		})
	}
}

func TestAnEmptyLogProvesNothing(t *testing.T) {
	log := newLog(t, 0, standin.Name)
	if _, err := judgeStandin(t, log.VKey, log); err == nil {
		t.Error("accepted")
	}
}

func TestACheckpointForAnotherOriginIsNoticed(t *testing.T) {
	log := newLog(t, 10, "ledgergrid.example/other")
	if _, err := judgeStandin(t, log.VKey, log); err == nil {
		t.Error("accepted")
	}
}

// spoiled changes the answers to one path and its query.
type spoiled struct {
	http.Handler
	path  string
	spoil func(*httptest.ResponseRecorder)
}

func (s spoiled) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := httptest.NewRecorder()
	s.Handler.ServeHTTP(answer, r)
	if strings.HasPrefix(r.URL.RequestURI(), s.path) {
		s.spoil(answer)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	w.Write(answer.Body.Bytes())
}

func TestALogWrongInOneRespectIsNoticed(t *testing.T) {
	for _, wrong := range []struct {
		what, path, area string
		spoil            func(*httptest.ResponseRecorder)
	}{
		{"a bit of a full tile", "/log/tile/0/001", "tiles", flipBit(77)},
		{"a bit of a partial tile", "/log/tile/0/002.p/188", "tiles", flipBit(8)},
		{"a bit of a tile above", "/log/tile/1/000.p/2", "tiles", flipBit(300)},
		{"a bit of an entry", "/log/tile/entries/001", "bundles", flipBit(30)},
		{"a bit of the last entry", "/log/tile/entries/002.p/188", "bundles", flipBit(2000)},
		{"bytes after a bundle", "/log/tile/entries/000", "bundles", add("\x00\x00")},
		{"an inclusion proof", "/api/proofs/inclusion?index=4&size=700", "inclusion", otherHash("hashes")},
		{"an inclusion proof's root", "/api/proofs/inclusion?index=4&size=700", "inclusion", otherHash("root")},
		{"an inclusion proof's leaf", "/api/proofs/inclusion?index=4&size=700", "inclusion", otherHash("leaf_hash")},
		{"a hash's algorithm", "/api/proofs/inclusion?index=4&size=700", "inclusion", replace(`"root":"sha256:`, `"root":"sha512:`)},
		{"a consistency proof", "/api/proofs/consistency?from=4&to=5", "consistency", otherHash("hashes")},
		{"a consistency proof's root", "/api/proofs/consistency?from=4&to=5", "consistency", otherHash("root_from")},
		{"a consistency proof's size", "/api/proofs/consistency?from=4&to=5", "consistency", replace(`"to":5`, `"to":6`)},
		{"a receipt's index", "/api/entries/4/receipt", "receipts", replace("index 4", "index 5")},
		{"a receipt's spelling", "/api/entries/4/receipt", "receipts", replace("index 4", "index 04")},
		{"a receipt's extra line", "/api/entries/4/receipt", "receipts", replace("index 4", "extra AAAA\nindex 4")},
		{"a receipt's signature", "/api/entries/4/receipt", "receipts", replace("— ", "— not-")},
		{"a content type", "/log/checkpoint", "layout", func(r *httptest.ResponseRecorder) {
			r.Header().Set("Content-Type", "text/html")
		}},
		{"a tile that should not be there", "/log/tile/0/003", "layout", func(r *httptest.ResponseRecorder) {
			r.Code = http.StatusOK
		}},
	} {
		t.Run(wrong.what, func(t *testing.T) {
			log := newLog(t, 700, standin.Name)
			report, err := judgeStandin(t, log.VKey, spoiled{log, wrong.path, wrong.spoil})
			if !strings.Contains(report, "WRONG") {
				t.Fatalf("not noticed: %v\n%s", err, report)
			}
			if wrong.area != "tiles" && !strings.Contains(err.Error(), wrong.area) {
				t.Errorf("%v, expected something about %s", err, wrong.area)
			}
		})
	}
}

func TestACheckpointWithABrokenSignatureEndsEverything(t *testing.T) {
	log := newLog(t, 10, standin.Name)
	if _, err := judgeStandin(t, log.VKey, spoiled{log, "/log/checkpoint", replace("\n10\n", "\n11\n")}); err == nil {
		t.Error("accepted")
	}
}

func TestAForgeryThatIsTakenIsNoticed(t *testing.T) {
	checked := tally{}
	a := checked.area("receipts")
	a.holds(nil, "a check")
	a.refused(nil, "a receipt with another index")
	if err := checked.verdict(); err == nil || !strings.Contains(checked.report(), "forgery accepted: a receipt") {
		t.Errorf("%v\n%s", err, checked.report())
	}
}

func TestAnAreaWithoutRefusalsProvesNothing(t *testing.T) {
	checked := tally{}
	checked.area("receipts").holds(nil, "a check")
	if checked.verdict() == nil {
		t.Error("accepted")
	}
}

func flipBit(bit int) func(*httptest.ResponseRecorder) {
	return func(r *httptest.ResponseRecorder) { r.Body = bytes.NewBuffer(flip(r.Body.Bytes(), bit)) }
}

// otherHash changes the first hash in a field of JSON, whose first character is all hash.
func otherHash(field string) func(*httptest.ResponseRecorder) {
	return func(r *httptest.ResponseRecorder) {
		body := r.Body.Bytes()
		at := bytes.Index(body, []byte(`"`+field+`":`))
		at += bytes.Index(body[at:], []byte("sha256:")) + len("sha256:")
		if body[at] == 'A' {
			body[at] = 'B'
		} else {
			body[at] = 'A'
		}
	}
}

func add(text string) func(*httptest.ResponseRecorder) {
	return func(r *httptest.ResponseRecorder) { r.Body.WriteString(text) }
}

func replace(old, new string) func(*httptest.ResponseRecorder) {
	return func(r *httptest.ResponseRecorder) {
		if !bytes.Contains(r.Body.Bytes(), []byte(old)) {
			panic("nothing to spoil in " + r.Body.String())
		}
		r.Body = bytes.NewBuffer(bytes.Replace(r.Body.Bytes(), []byte(old), []byte(new), 1))
	}
}
