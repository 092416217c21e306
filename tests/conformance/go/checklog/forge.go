package main

import (
	"bytes"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// forgery is something true, made false in one respect.
type forgery[T any] struct {
	how   string
	value T
}

// flip returns data with one bit inverted.
func flip(data []byte, bit int) []byte {
	data = bytes.Clone(data)
	data[bit/8] ^= 1 << (bit % 8)
	return data
}

func (j *judge) flipHash(h tlog.Hash) tlog.Hash {
	return tlog.Hash(flip(h[:], j.random.IntN(8*tlog.HashSize)))
}

// forgeHashes spoils a proof: every hash in turn, and their number and order.
func (j *judge) forgeHashes(proof []tlog.Hash) []forgery[[]tlog.Hash] {
	var forged []forgery[[]tlog.Hash]
	add := func(how string, hashes ...[]tlog.Hash) {
		forged = append(forged, forgery[[]tlog.Hash]{how, slices.Concat(hashes...)})
	}
	extra := []tlog.Hash{tlog.RecordHash([]byte("no part of this proof"))}
	add("a hash too many at the end", proof, extra)
	add("a hash too many at the beginning", extra, proof)
	if len(proof) == 0 {
		return forged
	}
	for i := range proof {
		add("a bit of a hash flipped", proof[:i], []tlog.Hash{j.flipHash(proof[i])}, proof[i+1:])
	}
	add("the first hash missing", proof[1:])
	add("the last hash missing", proof[:len(proof)-1])
	add("no hashes at all")
	add("the last hash twice", proof, proof[len(proof)-1:])
	if len(proof) > 1 && proof[0] != proof[1] {
		add("two hashes exchanged", proof[1:2], proof[:1], proof[2:])
	}
	return forged
}

// forgeTile spoils a tile: bits, length and order of its hashes.
func (j *judge) forgeTile(data []byte) []forgery[[]byte] {
	end := len(data) - tlog.HashSize
	forged := []forgery[[]byte]{
		{"a bit of its first hash flipped", flip(data, j.random.IntN(8*tlog.HashSize))},
		{"a bit of its last hash flipped", flip(data, 8*end+j.random.IntN(8*tlog.HashSize))},
		{"a bit somewhere flipped", flip(data, j.random.IntN(8*len(data)))},
		{"its last hash missing", data[:end]},
		{"a hash too many", slices.Concat(data, data[end:])},
		{"a byte too many", slices.Concat(data, []byte{0})},
		{"its last byte missing", data[:len(data)-1]},
	}
	first, second := data[:tlog.HashSize], data[tlog.HashSize:]
	if len(second) > 0 && !bytes.Equal(first, second[:tlog.HashSize]) {
		swapped := slices.Concat(second[:tlog.HashSize], first, second[tlog.HashSize:])
		forged = append(forged, forgery[[]byte]{"two hashes exchanged", swapped})
	}
	return forged
}
