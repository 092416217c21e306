package main

import (
	"fmt"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// memoryLog is an append-only log, or two of them that share a beginning: records from forkAt on
// differ in the fork.
type memoryLog struct {
	signer       note.Signer
	verifier     note.Verifier
	honest, fork hashes
}

const (
	size   = 300
	forkAt = 100
)

type hashes []tlog.Hash

func (h hashes) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	found := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		found[i] = h[index]
	}
	return found, nil
}

func newLog(skey, vkey string) (*memoryLog, error) {
	signer, err := note.NewSigner(skey)
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, err
	}
	l := &memoryLog{signer: signer, verifier: verifier}
	for n := range int64(size) {
		record := fmt.Appendf(nil, "record %d", n)
		if l.honest, err = grow(l.honest, n, record); err != nil {
			return nil, err
		}
		if n >= forkAt {
			record = fmt.Appendf(nil, "another record %d", n)
		}
		if l.fork, err = grow(l.fork, n, record); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func grow(h hashes, n int64, record []byte) (hashes, error) {
	added, err := tlog.StoredHashes(n, record, h)
	return append(h, added...), err
}

// text is what the log says of its tree at a size.
func (l *memoryLog) text(h hashes, n int64) (string, error) {
	root, err := tlog.TreeHash(n, h)
	return checkpointText(l.signer.Name(), n, root), err
}

func checkpointText(origin string, n int64, root tlog.Hash) string {
	return fmt.Sprintf("%s\n%d\n%s\n", origin, n, root)
}

// request asks for a cosignature over a text, with a proof from old to n in h.
func (l *memoryLog) request(h hashes, old, n int64) ([]byte, error) {
	text, err := l.text(h, n)
	if err != nil {
		return nil, err
	}
	var proof tlog.TreeProof
	if old > 0 && old < n {
		if proof, err = tlog.ProveTree(n, old, h); err != nil {
			return nil, err
		}
	}
	return sign(l.signer, old, proof, text)
}

func sign(signer note.Signer, old int64, proof tlog.TreeProof, text string) ([]byte, error) {
	signed, err := note.Sign(&note.Note{Text: text}, signer)
	if err != nil {
		return nil, err
	}
	body := fmt.Appendf(nil, "old %d\n", old)
	for _, hash := range proof {
		body = fmt.Appendf(body, "%s\n", hash)
	}
	return append(append(body, '\n'), signed...), nil
}
