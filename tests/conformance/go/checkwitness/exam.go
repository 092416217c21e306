package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// exam asks one question after the other, and notes each answer that is not the right one.
type exam struct {
	log      *memoryLog
	witness  *witness
	asked    int
	statuses map[int]int
	wrong    []error
}

func (e *exam) wrongly(what string, err error) {
	e.wrong = append(e.wrong, fmt.Errorf("%s: %w", what, err))
}

// expect sends a request and compares the status of the answer.
func (e *exam) expect(status int, what string, body []byte, err error) answer {
	e.asked++
	if err != nil {
		e.wrongly(what, err)
		return answer{}
	}
	got, err := e.witness.ask(body)
	if err == nil && got.status != status {
		err = fmt.Errorf("status %d (%q), not %d", got.status, got.body[:min(len(got.body), 200)], status)
	}
	if err != nil {
		e.wrongly(what, err)
		return got
	}
	if e.statuses == nil {
		e.statuses = map[int]int{}
	}
	e.statuses[status]++
	return got
}

func (e *exam) cosigned(old, n int64) {
	what := fmt.Sprintf("%d after %d", n, old)
	body, err := e.log.request(e.log.honest, old, n)
	got := e.expect(http.StatusOK, what, body, err)
	text, err := e.log.text(e.log.honest, n)
	if err == nil {
		err = e.witness.checkLines(text, got.body)
	}
	if err == nil && e.witness.monitoring != "" {
		err = e.witness.checkShown(e.log.signer.Name(), text, e.log.verifier)
	}
	if err != nil {
		e.wrongly(what, err)
	}
}

func (e *exam) conflict(what string, known int64, body []byte, err error) {
	got := e.expect(http.StatusConflict, what, body, err)
	if want := fmt.Sprintf("%d\n", known); string(got.body) != want || got.mediaType != "text/x.tlog.size" {
		e.wrongly(what, fmt.Errorf("says %q as %q, not %q as text/x.tlog.size", got.body, got.mediaType, want))
	}
}

func (e *exam) run() {
	honest, fork := e.log.honest, e.log.fork
	ask := e.log.request

	e.malformed()
	e.firstContact()
	body, err := ask(honest, 7, 10)
	e.conflict("never cosigned, but old is 7", 0, body, err)

	for _, step := range [][2]int64{{0, 1}, {1, 2}, {2, 2}, {2, 64}, {64, 99}, {99, 256}} {
		e.cosigned(step[0], step[1])
	}
	for _, old := range []int64{0, 1, 255} {
		body, err = ask(honest, old, 280)
		e.conflict(fmt.Sprintf("old is %d", old), 256, body, err)
	}
	body, err = ask(honest, 200, 255)
	e.conflict("an older checkpoint", 256, body, err)

	body, err = ask(fork, 256, 256)
	e.expect(http.StatusUnprocessableEntity, "another root for the same size", body, err)
	body, err = ask(fork, 256, 280)
	e.expect(http.StatusUnprocessableEntity, "a fork that grew", body, err)
	e.badProofs()
	e.strangers()
	e.cosigned(256, size)
}

func (e *exam) malformed() {
	good, err := e.log.request(e.log.honest, 0, 5)
	spoil := func(old, new string) []byte { return bytes.Replace(good, []byte(old), []byte(new), 1) }
	for what, body := range map[string][]byte{
		"nothing":                    {},
		"no old size":                spoil("old 0\n", ""),
		"an old size with a zero":    spoil("old 0", "old 00"),
		"an old size with a sign":    spoil("old 0", "old +0"),
		"an old size below zero":     spoil("old 0", "old -1"),
		"words for an old size":      spoil("old 0", "old none"),
		"carriage returns":           bytes.ReplaceAll(good, []byte("\n"), []byte("\r\n")),
		"a proof that is not base64": spoil("old 0\n", "old 0\n!!!\n"),
		"a hash that is too short":   spoil("old 0\n", "old 0\nAAAA\n"),
		"no checkpoint":              []byte("old 0\n\n"),
		"half a checkpoint":          good[:len(good)/2],
	} {
		e.expect(http.StatusBadRequest, what, body, err)
	}
	text, err := e.log.text(e.log.honest, 5)
	if err != nil {
		e.wrongly("text", err)
	}
	body, err := sign(e.log.signer, 6, nil, text)
	e.expect(http.StatusBadRequest, "an old size beyond the checkpoint", body, err)
}

// firstContact: no proof from nothing, and an empty tree has one root.
func (e *exam) firstContact() {
	text, err := e.log.text(e.log.honest, 5)
	if err != nil {
		e.wrongly("text", err)
	}
	body, err := sign(e.log.signer, 0, tlog.TreeProof{{}}, text)
	e.expect(http.StatusUnprocessableEntity, "a proof from nothing", body, err)
	wrong := checkpointText(e.log.signer.Name(), 0, tlog.Hash{1})
	body, err = sign(e.log.signer, 0, nil, wrong)
	e.expect(http.StatusUnprocessableEntity, "an empty tree with another root", body, err)
}

func (e *exam) badProofs() {
	text, err := e.log.text(e.log.honest, 280)
	if err != nil {
		e.wrongly("text", err)
	}
	proof, err := tlog.ProveTree(280, 256, e.log.honest)
	if err != nil {
		e.wrongly("proof", err)
	}
	flipped := slices.Clone(proof)
	flipped[0][0] ^= 1
	for what, bad := range map[string]tlog.TreeProof{
		"no proof":         nil,
		"a hash too few":   proof[:len(proof)-1],
		"a hash too many":  append(slices.Clone(proof), tlog.Hash{}),
		"a flipped bit":    flipped,
		"63 wrong hashes":  make(tlog.TreeProof, 63),
		"a backward proof": reversed(proof),
	} {
		if what == "a backward proof" && len(proof) < 2 {
			continue
		}
		body, err := sign(e.log.signer, 256, bad, text)
		e.expect(http.StatusUnprocessableEntity, what, body, err)
	}
	same, err := e.log.text(e.log.honest, 256)
	if err != nil {
		e.wrongly("text", err)
	}
	body, err := sign(e.log.signer, 256, proof, same)
	e.expect(http.StatusUnprocessableEntity, "a proof for the same size", body, err)
}

func reversed(proof tlog.TreeProof) tlog.TreeProof {
	turned := slices.Clone(proof)
	slices.Reverse(turned)
	return turned
}

// strangers: another log, another key in the log's name, a signature that was changed.
func (e *exam) strangers() {
	other, _, err := note.GenerateKey(rand.Reader, "stranger.example/log")
	if err == nil {
		err = e.asStranger(http.StatusNotFound, "a log that is not listed", other, "stranger.example/log")
	}
	name := e.log.signer.Name()
	impostor, _, err2 := note.GenerateKey(rand.Reader, name)
	if err == nil && err2 == nil {
		err = e.asStranger(http.StatusForbidden, "another key in the log's name", impostor, name)
	}
	if err != nil || err2 != nil {
		e.wrongly("strangers", fmt.Errorf("%v, %v", err, err2))
	}
	body, err := e.log.request(e.log.honest, 256, 280)
	e.expect(http.StatusForbidden, "a size changed after signing", bytes.Replace(body, []byte("\n280\n"), []byte("\n281\n"), 1), err)
}

func (e *exam) asStranger(status int, what, skey, origin string) error {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	root, err := tlog.TreeHash(5, e.log.honest)
	if err != nil {
		return err
	}
	body, err := sign(signer, 0, nil, checkpointText(origin, 5, root))
	e.expect(status, what, body, err)
	return nil
}
