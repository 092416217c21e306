package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
)

// maxBody bounds an answer: 256 entries of 65,535 bytes and their lengths are below 17 MiB.
const maxBody = 32 << 20

// site is a log and its API, seen over HTTP.
type site struct {
	log, api string
	client   *http.Client
}

func newSite(log, api, token string) *site {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	return &site{
		log:    strings.TrimSuffix(log, "/"),
		api:    strings.TrimSuffix(api, "/"),
		client: &http.Client{Timeout: 30 * time.Second, Transport: bearer{token, transport}},
	}
}

// bearer adds the token, if there is one, to every request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.token)
	}
	return b.next.RoundTrip(r)
}

// reply is an answer, read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) ask(ctx context.Context, url string) (reply, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return reply{}, err
	}
	response, err := s.client.Do(request)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("more than %d bytes", maxBody)
	}
	return reply{response.StatusCode, response.Header, body}, err
}

// get returns the body of an answer with status 200; anything else is an error.
func (s *site) get(ctx context.Context, url string) ([]byte, error) {
	r, err := s.ask(ctx, url)
	if err != nil {
		return nil, err
	}
	if r.status != http.StatusOK {
		return nil, fmt.Errorf("GET %s: status %d: %.200s", url, r.status, r.body)
	}
	return r.body, nil
}

// shelf is a torchwood.TileReader that asks the log for each tile and bundle once.
//
// Forging a log in memory needs its tiles many times over.
type shelf struct {
	site *site
	kept map[tlog.Tile][]byte
}

func (s *shelf) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data := make([][]byte, len(tiles))
	for i, tile := range tiles {
		if _, ok := s.kept[tile]; !ok {
			body, err := s.ReadEndpoint(ctx, torchwood.TilePath(tile))
			if err != nil {
				return nil, err
			}
			s.kept[tile] = body
		}
		data[i] = s.kept[tile]
	}
	return data, nil
}

func (s *shelf) SaveTiles([]tlog.Tile, [][]byte) {}

func (s *shelf) ReadEndpoint(ctx context.Context, path string) ([]byte, error) {
	return s.site.get(ctx, s.site.log+"/"+path)
}

// altered is the same log, but with other bytes in one of its tiles.
type altered struct {
	torchwood.TileReader
	tile tlog.Tile
	data []byte
}

func (a altered) ReadTiles(ctx context.Context, tiles []tlog.Tile) ([][]byte, error) {
	data, err := a.TileReader.ReadTiles(ctx, tiles)
	for i := range data {
		if tiles[i] == a.tile {
			data[i] = a.data
		}
	}
	return data, err
}
