package main

import (
	"bytes"
	"context"
	"fmt"
	"os"

	"filippo.io/torchwood"
)

// judgeWitnesses checks receipts under a policy that asks for all of its witnesses: they pass as they
// are, and fail with any one of the cosignatures removed or spoilt.
func (j *judge) judgeWitnesses(ctx context.Context) error {
	file, err := os.ReadFile(j.witnesses)
	if err != nil {
		return err
	}
	policy, err := torchwood.ParsePolicy(file)
	if err != nil {
		return fmt.Errorf("-witnesses: %w", err)
	}
	a := j.tally.area("witnesses")
	for _, index := range j.pickIndexes() {
		r, err := j.fetchReceipt(ctx, a, index)
		a.holds(err, "receipt of %d", index)
		if err != nil {
			continue
		}
		a.holds(torchwood.VerifyProof(policy, r.leaf, r.text()), "receipt of %d under the witnesses' policy", index)
		cosignatures := cosignatureLines(r.checkpoint, j.verifier.Name())
		if len(cosignatures) < 2 {
			a.holds(fmt.Errorf("only %d", len(cosignatures)), "cosignatures in the receipt of %d", index)
		}
		for n, line := range cosignatures {
			if !isAsked(file, line) {
				continue
			}
			without := r
			without.checkpoint = bytes.Replace(r.checkpoint, line, nil, 1)
			a.refused(torchwood.VerifyProof(policy, r.leaf, without.text()), "receipt of %d without cosignature %d", index, n)
			spoilt := r
			spoilt.checkpoint = bytes.Replace(r.checkpoint, line, spoilLine(line), 1)
			a.refused(torchwood.VerifyProof(policy, r.leaf, spoilt.text()), "receipt of %d with cosignature %d spoilt", index, n)
		}
	}
	return ctx.Err()
}

// cosignatureLines are the signature lines of a checkpoint that are not the log's own.
func cosignatureLines(checkpoint []byte, log string) [][]byte {
	_, below, _ := bytes.Cut(checkpoint, []byte("\n\n"))
	var lines [][]byte
	for _, line := range bytes.SplitAfter(below, []byte("\n")) {
		if len(line) > 0 && !bytes.HasPrefix(line, []byte("— "+log+" ")) {
			lines = append(lines, line)
		}
	}
	return lines
}

// isAsked tells whether a line is by an Ed25519 key: the only kind that torchwood 0.9 can ask for.
func isAsked(policy, line []byte) bool {
	name, encoded, _ := bytes.Cut(bytes.TrimPrefix(line, []byte("— ")), []byte(" "))
	return len(encoded) < 200 && bytes.Contains(policy, append(append([]byte(" "), name...), '+'))
}

// spoilLine changes one digit in the middle of the signature.
func spoilLine(line []byte) []byte {
	spoilt := bytes.Clone(line)
	at := len(line) - 20
	if spoilt[at] == 'A' {
		spoilt[at] = 'B'
	} else {
		spoilt[at] = 'A'
	}
	return spoilt
}
