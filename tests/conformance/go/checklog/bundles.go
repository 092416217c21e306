package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// judgeBundles checks that the entries are those the tree was made of, in three ways: hash by hash
// against the tiles, bundle by bundle with torchwood's client, and the whole log with that client
// doing its own fetching.
func (j *judge) judgeBundles(ctx context.Context) {
	a := j.tally.area("bundles")
	for first := int64(0); first < j.tree.N; first += torchwood.TileWidth {
		width := min(torchwood.TileWidth, j.tree.N-first)
		bundle := tlog.Tile{H: torchwood.TileHeight, L: -1, N: first / torchwood.TileWidth, W: int(width)}
		a.holds(j.checkLeaves(ctx, a, bundle), "bundle %v", bundle)
		a.holds(j.readEntries(ctx, j.tiles, bundle), "bundle %v read by torchwood", bundle)
		data, err := j.tiles.ReadTiles(ctx, []tlog.Tile{bundle})
		if err != nil {
			return
		}
		for _, f := range j.forgeBundle(data[0]) {
			err := j.readEntries(ctx, altered{j.tiles, bundle, f.value}, bundle)
			a.refused(err, "bundle %v with %s", bundle, f.how)
		}
	}
	a.holds(j.readWholeLog(ctx), "the whole log read by torchwood")
}

// checkLeaves compares SHA-256(0x00 || entry) with the level-0 tile, entry by entry.
func (j *judge) checkLeaves(ctx context.Context, a *area, bundle tlog.Tile) error {
	leaves := bundle
	leaves.L = 0
	data, err := j.tiles.ReadTiles(ctx, []tlog.Tile{bundle, leaves})
	if err != nil {
		return err
	}
	rest := data[0]
	for i := range bundle.W {
		var entry []byte
		if entry, rest, err = torchwood.ReadTileEntry(rest); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
		hash, expected := tlog.RecordHash(entry), data[1][i*tlog.HashSize:]
		if !bytes.HasPrefix(expected, hash[:]) {
			return fmt.Errorf("entry %d has another hash than the tile says", i)
		}
		a.checks++
	}
	if len(rest) > 0 {
		return fmt.Errorf("%d bytes too many", len(rest))
	}
	return nil
}

// readEntries has torchwood's client read one bundle, authenticating what it reads.
func (j *judge) readEntries(ctx context.Context, from torchwood.TileReader, bundle tlog.Tile) error {
	client, err := torchwood.NewClient(from)
	if err != nil {
		return err
	}
	first := bundle.N * torchwood.TileWidth
	last := first + int64(bundle.W) - 1
	for index := range client.Entries(ctx, j.tree, first) {
		if index > last { // Only here has the end of the bundle been looked at.
			return nil
		}
		first = index + 1
	}
	if client.Err() == nil && first <= last {
		return errors.New("torchwood stopped before the end")
	}
	return client.Err()
}

// readWholeLog leaves even the fetching to torchwood: its addresses, its order, its retries.
func (j *judge) readWholeLog(ctx context.Context) error {
	fetcher, err := torchwood.NewTileFetcher(j.site.log,
		torchwood.WithHTTPClient(j.site.client), torchwood.WithConcurrencyLimit(8))
	if err != nil {
		return err
	}
	client, err := torchwood.NewClient(fetcher)
	if err != nil {
		return err
	}
	count := int64(0)
	for range client.AllEntries(ctx, j.tree, 0) {
		count++
	}
	if client.Err() == nil && count != j.tree.N {
		return fmt.Errorf("%d entries instead of %d", count, j.tree.N)
	}
	return client.Err()
}

// forgeBundle spoils a bundle: bits of lengths and entries, and which entries are in it.
func (j *judge) forgeBundle(data []byte) []forgery[[]byte] {
	length := int(data[0])<<8 | int(data[1])
	first, others := data[:2+length], data[2+length:]
	forged := []forgery[[]byte]{
		{"a bit of the first length flipped", flip(data, j.random.IntN(16))},
		{"a bit somewhere flipped", flip(data, j.random.IntN(8*len(data)))},
		{"its last bit flipped", flip(data, 8*len(data)-1)},
		{"its last byte missing", data[:len(data)-1]},
		{"a byte too many", slices.Concat(data, []byte{0})},
		{"its first entry missing", others},
		{"its first entry twice", slices.Concat(first, data)},
		{"its first entry again at the end", slices.Concat(data, first)},
		{"nothing in it", nil},
	}
	if len(others) > 0 && !bytes.Equal(slices.Concat(others, first), data) {
		forged = append(forged, forgery[[]byte]{"its first entry moved to the end", slices.Concat(others, first)})
	}
	return forged
}
