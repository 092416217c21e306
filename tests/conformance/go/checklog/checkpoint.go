package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	formats "github.com/transparency-dev/formats/log"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// opener is somebody's way to open a signed checkpoint.
type opener struct {
	whose string
	open  func(signed []byte) (tlog.Tree, error)
}

func (j *judge) openers() []opener {
	return []opener{
		{"x/mod", j.openNote},
		{"torchwood", func(signed []byte) (tlog.Tree, error) {
			c, _, err := torchwood.VerifyCheckpoint(signed, j.policy)
			return c.Tree, err
		}},
		{"formats", j.openFormats},
	}
}

// openNote opens with x/mod's signed note; the three lines inside are read by torchwood.
func (j *judge) openNote(signed []byte) (tlog.Tree, error) {
	n, err := note.Open(signed, note.VerifierList(j.verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	c, err := torchwood.ParseCheckpoint(n.Text)
	if err == nil && c.Origin != j.verifier.Name() {
		err = fmt.Errorf("origin is %q, the key is of %q", c.Origin, j.verifier.Name())
	}
	if err == nil && c.Extension != "" {
		err = errors.New("it carries extension lines, which real witnesses refuse")
	}
	if err == nil && c.String() != n.Text {
		err = errors.New("it is not written the one way there is to write it")
	}
	return c.Tree, err
}

func (j *judge) openFormats(signed []byte) (tlog.Tree, error) {
	c, extension, _, err := formats.ParseCheckpoint(signed, j.verifier.Name(), j.verifier)
	if err != nil {
		return tlog.Tree{}, err
	}
	if len(c.Hash) != tlog.HashSize || len(extension) > 0 {
		return tlog.Tree{}, errors.New("its root is no SHA-256, or something follows it")
	}
	return tlog.Tree{N: int64(c.Size), Hash: tlog.Hash(c.Hash)}, nil
}

func (j *judge) judgeCheckpoint(ctx context.Context) error {
	signed, err := j.site.get(ctx, j.site.log+"/checkpoint")
	if err != nil {
		return err
	}
	a := j.tally.area("checkpoint")
	tree, err := j.openAll(a, signed)
	if err != nil {
		return fmt.Errorf("the checkpoint is not one: %w", err)
	}
	j.tree = tree
	j.refuseCheckpoints(a, signed)
	return nil
}

// openAll returns the tree that everybody reads from a signed checkpoint.
func (j *judge) openAll(a *area, signed []byte) (tlog.Tree, error) {
	var agreed tlog.Tree
	for i, o := range j.openers() {
		tree, err := o.open(signed)
		if err == nil && i > 0 && tree != agreed {
			err = fmt.Errorf("%v, where others read %v", tree, agreed)
		}
		a.holds(err, "%s opens it", o.whose)
		if err != nil {
			return tlog.Tree{}, fmt.Errorf("%s: %w", o.whose, err)
		}
		agreed = tree
	}
	return agreed, nil
}

func (j *judge) refuseCheckpoints(a *area, signed []byte) {
	forged, err := j.forgeCheckpoint(signed)
	a.holds(err, "it can be taken apart")
	for _, f := range forged {
		for _, o := range j.openers() {
			_, err := o.open(f.value)
			a.refused(err, "%s by %s", f.how, o.whose)
		}
	}
}

// forgeCheckpoint spoils each line of a checkpoint and each part of the log's signature.
//
// Signatures of others are left alone: who does not know their keys must ignore them.
func (j *judge) forgeCheckpoint(signed []byte) ([]forgery[[]byte], error) {
	at := bytes.LastIndex(signed, []byte("\n\n"))
	if at < 0 {
		return nil, errors.New("no blank line")
	}
	text, signatures := string(signed[:at+1]), string(signed[at+2:])
	var forged []forgery[[]byte]
	for _, f := range j.forgeText(text) {
		forged = append(forged, forgery[[]byte]{f.how, []byte(f.value + "\n" + signatures)})
	}
	others, err := j.forgeSignatures(signatures)
	for _, f := range others {
		forged = append(forged, forgery[[]byte]{f.how, []byte(text + "\n" + f.value)})
	}
	return append(forged, forgery[[]byte]{"the final newline missing", signed[:len(signed)-1]}), err
}

func (j *judge) forgeText(text string) []forgery[string] {
	lines := strings.SplitN(text, "\n", 4)
	with := func(line int, value string) string {
		changed := slices.Clone(lines)
		changed[line] = value
		return strings.Join(changed, "\n")
	}
	size, _ := strconv.ParseInt(lines[1], 10, 64)
	root, _ := tlog.ParseHash(lines[2])
	return []forgery[string]{
		{"another origin", with(0, lines[0]+"x")},
		{"one leaf more", with(1, strconv.FormatInt(size+1, 10))},
		{"one leaf less", with(1, strconv.FormatInt(size-1, 10))},
		{"a leading zero", with(1, "0"+lines[1])},
		{"a bit of the root flipped", with(2, j.flipHash(root).String())},
		{"an extension line added", text + "extension\n"},
		{"no root", lines[0] + "\n" + lines[1] + "\n"},
	}
}

// forgeSignatures changes the log's own line; bits are flipped in the bytes, not in their base64,
// whose last character has bits that mean nothing.
func (j *judge) forgeSignatures(signatures string) ([]forgery[string], error) {
	prefix := "— " + j.verifier.Name() + " "
	for line := range strings.Lines(signatures) {
		blob, err := base64.StdEncoding.DecodeString(strings.TrimSpace(strings.TrimPrefix(line, prefix)))
		if err != nil || len(blob) < 5 || binary.BigEndian.Uint32(blob) != j.verifier.KeyHash() {
			continue
		}
		with := func(prefix string, blob []byte) string {
			forged := prefix + base64.StdEncoding.EncodeToString(blob) + "\n"
			return strings.Replace(signatures, line, forged, 1)
		}
		half := len(blob) / 2
		return []forgery[string]{
			{"a bit of the signature's first half flipped", with(prefix, flip(blob, 8*4+j.random.IntN(8*(half-4))))},
			{"a bit of the signature's second half flipped", with(prefix, flip(blob, 8*half+j.random.IntN(8*(len(blob)-half))))},
			{"another key hash", with(prefix, flip(blob, j.random.IntN(8*4)))},
			{"another name on the signature", with("— not-"+j.verifier.Name()+" ", blob)},
			{"a short signature", with(prefix, blob[:len(blob)-1])},
			{"a long signature", with(prefix, append(bytes.Clone(blob), 0))},
			{"no signature of the log", strings.Replace(signatures, line, "", 1)},
		}, nil
	}
	return nil, errors.New("no signature line of the log")
}
