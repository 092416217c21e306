package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"
)

// apiHash is a hash as the JSON API writes it: sha256: and base64url without padding.
type apiHash tlog.Hash

func (h *apiHash) UnmarshalText(text []byte) error {
	encoded, ok := strings.CutPrefix(string(text), "sha256:")
	if !ok {
		return fmt.Errorf("hash %q does not begin with sha256:", text)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err == nil && len(data) != tlog.HashSize {
		err = fmt.Errorf("hash of %d bytes", len(data))
	}
	if err == nil {
		*h = apiHash(data)
	}
	return err
}

func unwrap(hashes []apiHash) []tlog.Hash {
	plain := make([]tlog.Hash, len(hashes))
	for i, h := range hashes {
		plain[i] = tlog.Hash(h)
	}
	return plain
}

func wrap(hashes []tlog.Hash) [][]byte {
	slices := make([][]byte, len(hashes))
	for i, h := range hashes {
		slices[i] = h[:]
	}
	return slices
}

// weigh has every checker accept the claim and refuse each of its forgeries.
func weigh[T any](a *area, what string, claim T, forged []forgery[T], checkers []checker[T]) {
	for _, c := range checkers {
		a.holds(c.check(claim), "%s, checked by %s", what, c.whose)
		for _, f := range forged {
			a.refused(c.check(f.value), "%s with %s, by %s", what, f.how, c.whose)
		}
	}
}

// ask fetches JSON from the API.
func (j *judge) ask(ctx context.Context, answer any, path string, args ...any) error {
	body, err := j.site.get(ctx, j.site.api+fmt.Sprintf(path, args...))
	if err != nil {
		return err
	}
	return json.Unmarshal(body, answer)
}

// checker is somebody's verifier of a claim.
type checker[T any] struct {
	whose string
	check func(T) error
}

// inclusion claims that a leaf is at an index of a tree.
type inclusion struct {
	index, size int64
	leaf, root  tlog.Hash
	hashes      []tlog.Hash
}

var inclusionCheckers = []checker[inclusion]{
	{"x/mod", func(c inclusion) error {
		return tlog.CheckRecord(c.hashes, c.size, c.root, c.index, c.leaf)
	}},
	{"merkle", func(c inclusion) error {
		return proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(c.index), uint64(c.size), c.leaf[:], wrap(c.hashes), c.root[:])
	}},
}

// judgeInclusion asks for proofs in the whole tree and in smaller ones.
func (j *judge) judgeInclusion(ctx context.Context) {
	a := j.tally.area("inclusion")
	for _, index := range j.pickIndexes() {
		sizes := []int64{index + 1, index + 1 + j.random.Int64N(j.tree.N-index), j.tree.N}
		for _, size := range j.inTree(sizes, 1, j.tree.N) {
			c, err := j.fetchInclusion(ctx, index, size)
			a.holds(err, "proof of %d in %d", index, size)
			if err != nil {
				continue
			}
			what := fmt.Sprintf("proof of %d in %d", index, size)
			weigh(a, what, c, j.forgeInclusion(c), inclusionCheckers)
		}
	}
}

// fetchInclusion returns a proof whose index, size, leaf and root are those we know to be true.
func (j *judge) fetchInclusion(ctx context.Context, index, size int64) (inclusion, error) {
	var answer struct {
		Index, Size int64
		LeafHash    apiHash `json:"leaf_hash"`
		Root        apiHash
		Hashes      []apiHash
	}
	if err := j.ask(ctx, &answer, "/proofs/inclusion?index=%d&size=%d", index, size); err != nil {
		return inclusion{}, err
	}
	leaf, err := j.leafHash(index)
	if err != nil {
		return inclusion{}, err
	}
	root, err := tlog.TreeHash(size, j.hashes)
	if err != nil {
		return inclusion{}, err
	}
	found := inclusion{answer.Index, answer.Size, tlog.Hash(answer.LeafHash), tlog.Hash(answer.Root), unwrap(answer.Hashes)}
	if found.index != index || found.size != size || found.leaf != leaf || found.root != root {
		return inclusion{}, fmt.Errorf("it is about leaf %v at %d in %d with root %v; the tiles say %v and %v",
			found.leaf, found.index, found.size, found.root, leaf, root)
	}
	return found, nil
}

// forgeInclusion leaves the size alone: the proof for index 0 of 7 leaves is also one in a tree of 8
// with the same root, which nobody can have. What ties a size to a root is the signed checkpoint.
func (j *judge) forgeInclusion(c inclusion) []forgery[inclusion] {
	var forged []forgery[inclusion]
	add := func(how string, change func(*inclusion)) {
		changed := c
		change(&changed)
		forged = append(forged, forgery[inclusion]{how, changed})
	}
	add("the next index", func(c *inclusion) { c.index++ })
	add("the index before", func(c *inclusion) { c.index-- })
	add("a bit of the leaf hash flipped", func(c *inclusion) { c.leaf = j.flipHash(c.leaf) })
	add("a bit of the root flipped", func(c *inclusion) { c.root = j.flipHash(c.root) })
	for _, f := range j.forgeHashes(c.hashes) {
		add(f.how, func(c *inclusion) { c.hashes = f.value })
	}
	return forged
}

// consistency claims that a tree is the beginning of another.
type consistency struct {
	from, to         int64
	rootFrom, rootTo tlog.Hash
	hashes           []tlog.Hash
}

var consistencyCheckers = []checker[consistency]{
	{"x/mod", func(c consistency) error {
		return tlog.CheckTree(c.hashes, c.to, c.rootTo, c.from, c.rootFrom)
	}},
	{"merkle", func(c consistency) error {
		return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(c.from), uint64(c.to), wrap(c.hashes), c.rootFrom[:], c.rootTo[:])
	}},
}

func (j *judge) judgeConsistency(ctx context.Context) {
	a := j.tally.area("consistency")
	for _, pick := range j.pickIndexes() {
		from := pick + 1
		sizes := []int64{from, from + 1, from + j.random.Int64N(j.tree.N-pick), j.tree.N}
		for _, to := range j.inTree(sizes, from, j.tree.N) {
			c, err := j.fetchConsistency(ctx, from, to)
			a.holds(err, "proof from %d to %d", from, to)
			if err != nil {
				continue
			}
			what := fmt.Sprintf("proof from %d to %d", from, to)
			weigh(a, what, c, j.forgeConsistency(c), consistencyCheckers)
		}
	}
}

// fetchConsistency returns a proof whose sizes and roots are those we know to be true.
func (j *judge) fetchConsistency(ctx context.Context, from, to int64) (consistency, error) {
	var answer struct {
		From, To int64
		RootFrom apiHash `json:"root_from"`
		RootTo   apiHash `json:"root_to"`
		Hashes   []apiHash
	}
	if err := j.ask(ctx, &answer, "/proofs/consistency?from=%d&to=%d", from, to); err != nil {
		return consistency{}, err
	}
	rootFrom, err := tlog.TreeHash(from, j.hashes)
	if err != nil {
		return consistency{}, err
	}
	rootTo, err := tlog.TreeHash(to, j.hashes)
	if err != nil {
		return consistency{}, err
	}
	found := consistency{answer.From, answer.To, tlog.Hash(answer.RootFrom), tlog.Hash(answer.RootTo), unwrap(answer.Hashes)}
	if found.from != from || found.to != to || found.rootFrom != rootFrom || found.rootTo != rootTo {
		return consistency{}, fmt.Errorf("it is from %d with %v to %d with %v; the tiles say %v and %v",
			found.from, found.rootFrom, found.to, found.rootTo, rootFrom, rootTo)
	}
	return found, nil
}

// forgeConsistency leaves the later size alone, for the reason given at forgeInclusion.
func (j *judge) forgeConsistency(c consistency) []forgery[consistency] {
	var forged []forgery[consistency]
	add := func(how string, change func(*consistency)) {
		changed := c
		change(&changed)
		forged = append(forged, forgery[consistency]{how, changed})
	}
	add("the next size", func(c *consistency) { c.from++ })
	if c.from > 1 { // Everything continues the empty tree.
		add("the size before", func(c *consistency) { c.from-- })
	}
	if c.rootFrom != c.rootTo {
		add("the roots exchanged", func(c *consistency) { c.rootFrom, c.rootTo = c.rootTo, c.rootFrom })
		add("the later root twice", func(c *consistency) { c.rootFrom = c.rootTo })
	}
	add("a bit of the earlier root flipped", func(c *consistency) { c.rootFrom = j.flipHash(c.rootFrom) })
	add("a bit of the later root flipped", func(c *consistency) { c.rootTo = j.flipHash(c.rootTo) })
	for _, f := range j.forgeHashes(c.hashes) {
		add(f.how, func(c *consistency) { c.hashes = f.value })
	}
	return forged
}
