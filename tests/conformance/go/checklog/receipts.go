package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/proof"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// receipt is a C2SP tlog-proof taken apart, for an entry whose hash is known from the tiles. What is
// extra is the entry's beginning, so that whoever has the rest can put the entry together.
type receipt struct {
	index      int64
	extra      []byte
	leaf       tlog.Hash
	hashes     []tlog.Hash
	checkpoint []byte
}

func (r receipt) text() []byte {
	if r.extra == nil {
		return torchwood.FormatProof(r.index, r.hashes, r.checkpoint)
	}
	return torchwood.FormatProofWithExtraData(r.index, r.extra, r.hashes, r.checkpoint)
}

func (j *judge) judgeReceipts(ctx context.Context) {
	a := j.tally.area("receipts")
	policies, err := j.foreignPolicies()
	a.holds(err, "policies of other logs")
	for _, index := range j.pickIndexes() {
		r, err := j.fetchReceipt(ctx, a, index)
		a.holds(err, "receipt of %d", index)
		if err != nil {
			continue
		}
		a.holds(torchwood.VerifyProof(j.policy, r.leaf, r.text()), "receipt of %d, checked by torchwood", index)
		for _, f := range policies {
			a.refused(torchwood.VerifyProof(f.value, r.leaf, r.text()), "receipt of %d under a policy with %s", index, f.how)
		}
		forged, err := j.forgeReceipt(r)
		a.holds(err, "receipt of %d can be taken apart", index)
		for _, f := range forged {
			a.refused(torchwood.VerifyProof(j.policy, f.value.leaf, f.value.text()), "receipt of %d with %s", index, f.how)
		}
		for _, f := range forgeWording(r.text()) {
			a.refused(torchwood.VerifyProof(j.policy, r.leaf, f.value), "receipt of %d with %s", index, f.how)
		}
	}
}

// fetchReceipt returns the receipt of an entry if it is written as formats and torchwood write it,
// and its checkpoint is one of this very log.
func (j *judge) fetchReceipt(ctx context.Context, a *area, index int64) (receipt, error) {
	url := fmt.Sprintf("%s/entries/%d/receipt", j.site.api, index)
	answer, err := j.site.ask(ctx, url)
	if err != nil {
		return receipt{}, err
	}
	mediaType, _, _ := mime.ParseMediaType(answer.header.Get("Content-Type"))
	if answer.status != http.StatusOK || mediaType != "text/plain" {
		return receipt{}, fmt.Errorf("status %d and content type %q", answer.status, mediaType)
	}
	leaf, err := j.leafHash(index)
	if err != nil {
		return receipt{}, err
	}
	r, err := parseReceipt(answer.body)
	if err != nil {
		return receipt{}, err
	}
	if r.index != index || !bytes.Equal(r.text(), answer.body) {
		return receipt{}, fmt.Errorf("it is for %d, or torchwood would write it in another way", r.index)
	}
	r.leaf = leaf
	if entry, err := j.entry(ctx, index); err != nil || !bytes.HasPrefix(entry, r.extra) {
		return receipt{}, fmt.Errorf("its extra data is not how the entry begins (%v)", err)
	}
	return r, j.checkAncestor(a, r.checkpoint)
}

func parseReceipt(text []byte) (receipt, error) {
	var parsed formats.TLogProof
	if err := parsed.Unmarshal(text); err != nil {
		return receipt{}, err
	}
	if !bytes.Equal(parsed.Marshal(), text) {
		return receipt{}, errors.New("formats would write it in another way")
	}
	r := receipt{index: int64(parsed.Index), extra: parsed.ExtraData, checkpoint: parsed.Checkpoint}
	for _, h := range parsed.Hashes {
		r.hashes = append(r.hashes, tlog.Hash(h))
	}
	return r, nil
}

// checkAncestor checks that the log's tree once was what a receipt's checkpoint says.
func (j *judge) checkAncestor(a *area, signed []byte) error {
	tree, err := j.openAll(a, signed)
	if err != nil {
		return err
	}
	if tree.N < 1 || tree.N > j.tree.N {
		return fmt.Errorf("its checkpoint has size %d, the log %d", tree.N, j.tree.N)
	}
	root, err := tlog.TreeHash(tree.N, j.hashes)
	if err == nil && root != tree.Hash {
		err = fmt.Errorf("root %v at size %d is not the log's %v", tree.Hash, tree.N, root)
	}
	return err
}

func (j *judge) forgeReceipt(r receipt) ([]forgery[receipt], error) {
	var forged []forgery[receipt]
	add := func(how string, change func(*receipt)) {
		changed := r
		change(&changed)
		forged = append(forged, forgery[receipt]{how, changed})
	}
	add("the next index", func(r *receipt) { r.index++ })
	add("the index before", func(r *receipt) { r.index-- })
	add("another entry's leaf hash", func(r *receipt) { r.leaf = j.flipHash(r.leaf) })
	for _, f := range j.forgeHashes(r.hashes) {
		add(f.how, func(r *receipt) { r.hashes = f.value })
	}
	checkpoints, err := j.forgeCheckpoint(r.checkpoint)
	for _, f := range checkpoints {
		add("a checkpoint with "+f.how, func(r *receipt) { r.checkpoint = f.value })
	}
	return forged, err
}

// forgeWording spoils a receipt as text.
func forgeWording(text []byte) []forgery[[]byte] {
	lines := bytes.SplitAfter(text, []byte("\n"))
	noIndex := slices.DeleteFunc(slices.Clone(lines), func(line []byte) bool {
		return bytes.HasPrefix(line, []byte("index "))
	})
	return []forgery[[]byte]{
		{"another version", bytes.Replace(text, []byte("@v1"), []byte("@v2"), 1)},
		{"no first line", slices.Concat(lines[1:]...)},
		{"no index", slices.Concat(noIndex...)},
		{"a blank line before the index", slices.Concat(lines[0], []byte("\n"), slices.Concat(lines[1:]...))},
		{"carriage returns", bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n"))},
		{"something after it", slices.Concat(text, []byte("more"))},
		{"half of it", text[:len(text)/2]},
	}
}

// foreignPolicies believe the same key under another name, and another key under the same name.
func (j *judge) foreignPolicies() ([]forgery[torchwood.Policy], error) {
	_, encoded, _ := strings.Cut(j.vkey, "+")
	_, encoded, _ = strings.Cut(encoded, "+")
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, err
	}
	var forged []forgery[torchwood.Policy]
	for _, other := range []struct {
		how, name string
		key       []byte
	}{
		{"the key of another origin", "not-" + j.verifier.Name(), key[1:]},
		{"another key of the origin", j.verifier.Name(), flip(key[1:], 0)},
	} {
		vkey, err := note.NewEd25519VerifierKey(other.name, other.key)
		if err != nil {
			return nil, err
		}
		policy, err := torchwood.ParsePolicy(policyFile(vkey))
		if err != nil {
			return nil, err
		}
		forged = append(forged, forgery[torchwood.Policy]{other.how, policy})
	}
	return forged, nil
}
