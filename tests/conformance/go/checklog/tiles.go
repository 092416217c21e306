package main

import (
	"context"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// judgeLayout checks what C2SP tlog-tiles says about the answers themselves, and that there is
// nothing where the tree has nothing.
func (j *judge) judgeLayout(ctx context.Context) {
	a := j.tally.area("layout")
	edge := tlog.Tile{H: torchwood.TileHeight, N: (j.tree.N - 1) / torchwood.TileWidth}
	edge.W = int(j.tree.N - edge.N*torchwood.TileWidth)
	a.holds(j.served(ctx, "checkpoint", "text/plain", ""), "the checkpoint")
	for _, level := range []int{0, -1} {
		last, first := edge, tlog.Tile{H: torchwood.TileHeight, L: level, W: torchwood.TileWidth}
		last.L = level
		a.holds(j.served(ctx, torchwood.TilePath(last), "application/octet-stream", ""), "tile %v", last)
		if j.tree.N >= torchwood.TileWidth {
			a.holds(j.served(ctx, torchwood.TilePath(first), "application/octet-stream", "immutable"), "tile %v", first)
		}
		beyond := tlog.Tile{H: torchwood.TileHeight, L: level, N: edge.N + 1, W: torchwood.TileWidth}
		a.refused(j.absent(ctx, torchwood.TilePath(beyond)), "a tile beyond the tree is served")
		beyond.W = 1
		a.refused(j.absent(ctx, torchwood.TilePath(beyond)), "a partial tile beyond the tree is served")
	}
	for _, path := range []string{
		"tile/0/0", "tile/00/000", "tile/64/000", "tile/0/x000/000", "tile/0/000.p/0",
		"tile/0/000.p/256", "tile/0/000.p/01", "tile/-1/000", "tile/entries/0", "tile/8/0/000",
	} {
		a.refused(j.absent(ctx, path), "%s is served", path)
	}
}

// served says what is wrong with the headers of a resource.
func (j *judge) served(ctx context.Context, path, mediaType, cacheControl string) error {
	r, err := j.site.ask(ctx, j.site.log+"/"+path)
	if err != nil {
		return err
	}
	found, _, _ := mime.ParseMediaType(r.header.Get("Content-Type"))
	if r.status != http.StatusOK || found != mediaType {
		return fmt.Errorf("%s: status %d and content type %q", path, r.status, found)
	}
	if control := r.header.Get("Cache-Control"); !strings.Contains(control, cacheControl) {
		return fmt.Errorf("%s: cache-control %q is without %q", path, control, cacheControl)
	}
	return nil
}

// absent returns the refusal to serve a path, or nil if it was served.
//
// Only 404 and 400 refuse: clients take 404 as "not there", and anything else for an accident.
func (j *judge) absent(ctx context.Context, path string) error {
	r, err := j.site.ask(ctx, j.site.log+"/"+path)
	if err != nil || r.status != http.StatusNotFound && r.status != http.StatusBadRequest {
		return nil
	}
	return fmt.Errorf("status %d", r.status)
}

// judgeTiles authenticates every tile of the tree, and refuses each with changes.
func (j *judge) judgeTiles(ctx context.Context) error {
	a := j.tally.area("tiles")
	for _, tile := range tlog.NewTiles(torchwood.TileHeight, 0, j.tree.N) {
		data, err := j.tiles.ReadTiles(ctx, []tlog.Tile{tile})
		if err != nil {
			a.holds(err, "tile %v", tile)
			return errors.New("without its tiles nothing else about the log can be checked")
		}
		a.holds(j.authenticate(ctx, j.tiles, tile), "tile %v", tile)
		for _, f := range j.forgeTile(data[0]) {
			err := j.authenticate(ctx, altered{j.tiles, tile, f.value}, tile)
			a.refused(err, "tile %v with %s", tile, f.how)
		}
	}
	return nil
}

// authenticate checks a whole tile against the checkpoint: x/mod hashes its way down to it.
func (j *judge) authenticate(ctx context.Context, from torchwood.TileReader, tile tlog.Tile) error {
	last := tile.N*torchwood.TileWidth + int64(tile.W) - 1
	node := tlog.StoredHashIndex(tile.L*torchwood.TileHeight, last)
	_, err := torchwood.TileHashReaderWithContext(ctx, j.tree, from).ReadHashes([]int64{node})
	return err
}
