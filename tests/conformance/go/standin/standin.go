// Package standin is a log made without any of LedgerGrid, with x/mod and torchwood alone, that
// answers like one: the tests of checklog need a log that is right, and logs wrong in one respect.
package standin

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Name is the log's origin and the name of its key.
const Name = "ledgergrid.example/standin"

// Log is a finished log, all in memory.
type Log struct {
	VKey       string
	entries    [][]byte
	hashes     []tlog.Hash
	checkpoint []byte
}

// ReadHashes makes a Log a tlog.HashReader.
func (l *Log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	hashes := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		hashes[i] = l.hashes[index]
	}
	return hashes, nil
}

// New makes a log of so many entries, signed for the origin by a key named Name.
func New(size int64, origin string) (*Log, error) {
	l := &Log{}
	for n := range size {
		entry := fmt.Appendf(nil, "entry %d", n)
		stored, err := tlog.StoredHashes(n, entry, l)
		if err != nil {
			return nil, err
		}
		l.entries, l.hashes = append(l.entries, entry), append(l.hashes, stored...)
	}
	root, err := tlog.TreeHash(size, l)
	if err != nil {
		return nil, err
	}
	return l, l.sign(torchwood.Checkpoint{Origin: origin, Tree: tlog.Tree{N: size, Hash: root}})
}

func (l *Log) sign(c torchwood.Checkpoint) error {
	// The seed is a secret of nobody's: whoever signs with it signs for a test.
	skey, vkey, err := note.GenerateKey(bytes.NewReader(make([]byte, ed25519.SeedSize)), Name)
	if err != nil {
		return err
	}
	signer, err := note.NewSigner(skey)
	if err != nil {
		return err
	}
	l.VKey = vkey
	l.checkpoint, err = note.Sign(&note.Note{Text: c.String()}, signer)
	return err
}

// ServeHTTP answers under /log the files of C2SP tlog-tiles and under /api proofs and receipts.
func (l *Log) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, mediaType, err := l.answer(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	w.Header().Set("Content-Type", mediaType)
	if strings.HasPrefix(r.URL.Path, "/log/tile/") {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	w.Write(body)
}

func (l *Log) answer(r *http.Request) (body []byte, mediaType string, err error) {
	path := r.URL.Path
	switch {
	case path == "/log/checkpoint":
		return l.checkpoint, "text/plain; charset=utf-8", nil
	case strings.HasPrefix(path, "/log/tile/"):
		body, err = l.tile(strings.TrimPrefix(path, "/log/"))
		return body, "application/octet-stream", err
	case path == "/api/proofs/inclusion":
		body, err = l.inclusion(number(r, "index"), number(r, "size"))
		return body, "application/json", err
	case path == "/api/proofs/consistency":
		body, err = l.consistency(number(r, "from"), number(r, "to"))
		return body, "application/json", err
	}
	var index int64
	if _, err := fmt.Sscanf(path, "/api/entries/%d/receipt", &index); err != nil {
		return nil, "", fmt.Errorf("nothing at %s", path)
	}
	body, err = l.receipt(index)
	return body, "text/plain; charset=utf-8", err
}

func number(r *http.Request, name string) int64 {
	n, err := strconv.ParseInt(r.URL.Query().Get(name), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

func (l *Log) tile(path string) ([]byte, error) {
	t, err := torchwood.ParseTilePath(path)
	if err != nil {
		return nil, err
	}
	first := t.N * torchwood.TileWidth
	if t.L == -1 {
		return l.bundle(first, first+int64(t.W))
	}
	// Shifting the size down, not the tile up: at level 8 and above nothing must overflow.
	if width := int64(len(l.entries)) >> (t.L * torchwood.TileHeight); first+int64(t.W) > width {
		return nil, fmt.Errorf("%s is not in a tree of %d", path, len(l.entries))
	}
	return tlog.ReadTileData(t, l)
}

func (l *Log) bundle(first, end int64) (data []byte, err error) {
	if end > int64(len(l.entries)) {
		return nil, fmt.Errorf("there are only %d entries", len(l.entries))
	}
	for _, entry := range l.entries[first:end] {
		if data, err = torchwood.AppendTileEntry(data, entry); err != nil {
			return nil, err
		}
	}
	return data, nil
}

func (l *Log) inclusion(index, size int64) ([]byte, error) {
	proof, err := tlog.ProveRecord(size, index, l)
	if err != nil {
		return nil, err
	}
	root, err := tlog.TreeHash(size, l)
	return fmt.Appendf(nil, `{"index":%d,"size":%d,"leaf_hash":%s,"root":%s,"hashes":[%s]}`,
		index, size, quote(tlog.RecordHash(l.entries[index])), quote(root), quote(proof...)), err
}

func (l *Log) consistency(from, to int64) ([]byte, error) {
	proof, err := tlog.ProveTree(to, from, l)
	if err != nil {
		return nil, err
	}
	rootFrom, err := tlog.TreeHash(from, l)
	if err != nil {
		return nil, err
	}
	rootTo, err := tlog.TreeHash(to, l)
	return fmt.Appendf(nil, `{"from":%d,"to":%d,"root_from":%s,"root_to":%s,"hashes":[%s]}`,
		from, to, quote(rootFrom), quote(rootTo), quote(proof...)), err
}

// quote writes hashes as the JSON API does.
func quote(hashes ...tlog.Hash) string {
	quoted := make([]string, len(hashes))
	for i, h := range hashes {
		quoted[i] = `"sha256:` + base64.RawURLEncoding.EncodeToString(h[:]) + `"`
	}
	return strings.Join(quoted, ",")
}

func (l *Log) receipt(index int64) ([]byte, error) {
	proof, err := tlog.ProveRecord(int64(len(l.entries)), index, l)
	if err != nil {
		return nil, err
	}
	return torchwood.FormatProof(index, proof, l.checkpoint), nil
}
