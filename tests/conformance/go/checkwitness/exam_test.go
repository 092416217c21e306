package main

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"
)

// A witness that answers everything alike is found out, whatever it answers.
func TestWitnessesThatAnswerEverythingAlikeAreFoundOut(t *testing.T) {
	skey, vkey, err := note.GenerateKey(rand.Reader, "log.example")
	if err != nil {
		t.Fatal(err)
	}
	const witnessKey = "witness.example/w1+df1c0a35+BIE5dw6ofRdfVqNUZsNMfszLjYqRtO43ol32D1uPybOU"
	for status, body := range map[int]string{
		200: "— witness.example/w1 3xwKNQAAAABqbcZB\n",
		400: "", 403: "", 404: "", 409: "0\n", 422: "", 500: "",
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/x.tlog.size")
			w.WriteHeader(status)
			w.Write([]byte(body))
		}))
		err := check(server.URL, server.URL, skey, vkey, witnessKey, "")
		server.Close()
		if err == nil {
			t.Errorf("a witness that always answers %d passes", status)
		} else if count := strings.Count(err.Error(), "\n") + 1; count < 10 {
			t.Errorf("always %d: only %d complaints: %v", status, count, err)
		}
	}
}
