package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/note"
	"golang.org/x/mod/sumdb/note"
)

// witness is the one under examination, and the keys it is known by.
type witness struct {
	url, monitoring string
	verifiers       []note.Verifier
	client          http.Client
}

type answer struct {
	status    int
	mediaType string
	body      []byte
}

func newWitness(url, monitoring, ed25519, mldsa string) (*witness, error) {
	w := &witness{url: url, monitoring: monitoring, client: http.Client{Timeout: 10 * time.Second}}
	byTorchwood, err := torchwood.NewCosignatureVerifier(ed25519)
	if err != nil {
		return nil, fmt.Errorf("-ed25519, by torchwood: %w", err)
	}
	byFormats, err := formats.NewVerifierForCosignatureV1(ed25519)
	if err != nil {
		return nil, fmt.Errorf("-ed25519, by formats: %w", err)
	}
	w.verifiers = []note.Verifier{byTorchwood, byFormats}
	if mldsa != "" {
		postQuantum, err := formats.NewMLDSAVerifier(mldsa)
		if err != nil {
			return nil, fmt.Errorf("-mldsa: %w", err)
		}
		w.verifiers = append(w.verifiers, postQuantum)
	}
	return w, nil
}

func (w *witness) ask(body []byte) (answer, error) {
	response, err := w.client.Post(w.url+"/add-checkpoint", "text/plain", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	return read(response)
}

func read(response *http.Response) (answer, error) {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return answer{response.StatusCode, response.Header.Get("Content-Type"), body}, err
}

// checkLines is an error unless every key of the witness signed the text, alone, just now.
func (w *witness) checkLines(text string, lines []byte) error {
	signed := append([]byte(text+"\n"), lines...)
	for _, verifier := range w.verifiers {
		opened, err := note.Open(signed, note.VerifierList(verifier))
		if err != nil {
			return fmt.Errorf("%s %08x: %w", verifier.Name(), verifier.KeyHash(), err)
		}
		made, err := formats.CoSigV1Timestamp(opened.Sigs[0])
		if err != nil {
			return err
		}
		if age := time.Since(made); age < -time.Minute || age > time.Minute {
			return fmt.Errorf("cosigned at %v", made)
		}
	}
	return nil
}

// checkShown is an error unless the witness shows this text, signed by the log and by itself.
func (w *witness) checkShown(origin, text string, log note.Verifier) error {
	url := fmt.Sprintf("%s/%x/checkpoint", w.monitoring, sha256.Sum256([]byte(origin)))
	response, err := w.client.Get(url)
	if err != nil {
		return err
	}
	shown, err := read(response)
	if err != nil {
		return err
	}
	opened, err := note.Open(shown.body, note.VerifierList(log))
	if err != nil {
		return fmt.Errorf("status %d: %w", shown.status, err)
	}
	if opened.Text != text {
		return errors.New("it shows another checkpoint than it cosigned last")
	}
	_, lines, _ := strings.Cut(string(shown.body), "\n\n")
	return w.checkLines(text, []byte(lines))
}
