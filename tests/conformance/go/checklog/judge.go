package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type config struct {
	log, api, vkey, token string
	witnesses             string // a policy file; without it no witness is asked for
	samples               int
	seed                  uint64
}

// judge examines one log, area by area. What an area has authenticated, the next ones build on.
type judge struct {
	config
	site     *site
	verifier note.Verifier
	policy   torchwood.Policy
	tally    *tally
	random   *rand.Rand

	tree   tlog.Tree       // what the log's checkpoint says
	tiles  *shelf          // as the log serves them, trusted only through hashes
	hashes tlog.HashReader // nodes of the tree, each authenticated against the checkpoint
}

func newJudge(c config) (*judge, error) {
	verifier, err := note.NewVerifier(c.vkey)
	if err != nil {
		return nil, fmt.Errorf("-vkey: %w", err)
	}
	policy, err := torchwood.ParsePolicy(policyFile(c.vkey))
	if err != nil {
		return nil, fmt.Errorf("-vkey as a policy: %w", err)
	}
	site := newSite(c.log, c.api, c.token)
	return &judge{
		config:   c,
		site:     site,
		verifier: verifier,
		policy:   policy,
		tally:    &tally{},
		random:   rand.New(rand.NewPCG(c.seed, 0)),
		tiles:    &shelf{site, map[tlog.Tile][]byte{}},
	}, nil
}

// policyFile is the C2SP tlog-policy that believes this log alone and asks for no witness.
//
// Exactly one log line: torchwood 0.9 wants the signatures of all the logs it is given.
func policyFile(vkey string) []byte {
	return fmt.Appendf(nil, "log %s\nquorum none\n", vkey)
}

// everything goes through all areas; it returns an error where later ones would have no ground.
func (j *judge) everything(ctx context.Context) error {
	if err := j.judgeCheckpoint(ctx); err != nil {
		return err
	}
	if j.tree.N == 0 {
		return errors.New("an empty log proves nothing")
	}
	j.hashes = torchwood.TileHashReaderWithContext(ctx, j.tree, j.tiles)
	j.judgeLayout(ctx)
	if err := j.judgeTiles(ctx); err != nil {
		return err
	}
	j.judgeBundles(ctx)
	if j.api == "" {
		return nil
	}
	j.judgeInclusion(ctx)
	j.judgeConsistency(ctx)
	j.judgeReceipts(ctx)
	if j.witnesses != "" {
		return j.judgeWitnesses(ctx)
	}
	return ctx.Err()
}

// leafHash returns the authenticated hash of a leaf.
func (j *judge) leafHash(index int64) (tlog.Hash, error) {
	hashes, err := j.hashes.ReadHashes([]int64{tlog.StoredHashIndex(0, index)})
	if err != nil {
		return tlog.Hash{}, err
	}
	return hashes[0], nil
}

// entry returns the bytes of an entry, out of its bundle.
func (j *judge) entry(ctx context.Context, index int64) ([]byte, error) {
	n := index / torchwood.TileWidth
	width := min(torchwood.TileWidth, j.tree.N-n*torchwood.TileWidth)
	bundle := tlog.Tile{H: torchwood.TileHeight, L: -1, N: n, W: int(width)}
	data, err := j.tiles.ReadTiles(ctx, []tlog.Tile{bundle})
	if err != nil {
		return nil, err
	}
	entry, rest := []byte(nil), data[0]
	for range index%torchwood.TileWidth + 1 {
		if entry, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return nil, err
		}
	}
	return entry, nil
}

// pickIndexes returns the leaves where tiles and levels begin and end, and some at random.
func (j *judge) pickIndexes() []int64 {
	picks := []int64{j.tree.N - 1, j.tree.N - 2, j.tree.N / 256 * 256}
	for power := int64(1); power <= j.tree.N; power *= 2 {
		picks = append(picks, power-1, power, power+1)
	}
	for range j.samples {
		picks = append(picks, j.random.Int64N(j.tree.N))
	}
	return j.inTree(append(picks, 0), 0, j.tree.N-1)
}

// inTree sorts the picks, drops those outside [first, last] and keeps one of each.
func (j *judge) inTree(picks []int64, first, last int64) []int64 {
	picks = slices.DeleteFunc(picks, func(pick int64) bool { return pick < first || pick > last })
	slices.Sort(picks)
	return slices.Compact(picks)
}
