// Checkwitness asks a witness (C2SP tlog-witness) for cosignatures, honestly and not, and checks
// that each answer has the status which the specification gives it.
//
// The log it asks for lives in memory: golang.org/x/mod/sumdb/tlog makes its tree and proofs,
// sumdb/note signs its checkpoints. Cosignatures are verified by filippo.io/torchwood (Ed25519) and by
// transparency-dev/formats (Ed25519 and ML-DSA-44).
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
)

func main() {
	url := flag.String("url", "", "submission prefix of the witness")
	monitoring := flag.String("monitoring", "", "monitoring prefix; without it, what the witness shows is not checked")
	skey := flag.String("log-key", "", "private key (note format) of a log that the witness lists, never cosigned so far")
	vkey := flag.String("log-vkey", "", "its public key")
	ed25519 := flag.String("ed25519", "", "the witness's vkey of type 0x04")
	mldsa := flag.String("mldsa", "", "the witness's vkey of type 0x06; without it, its lines are not checked")
	flag.Parse()

	if err := check(*url, *monitoring, *skey, *vkey, *ed25519, *mldsa); err != nil {
		fmt.Fprintln(os.Stderr, "checkwitness:", err)
		os.Exit(1)
	}
}

func check(url, monitoring, skey, vkey, ed25519, mldsa string) error {
	l, err := newLog(skey, vkey)
	if err != nil {
		return fmt.Errorf("-log-key: %w", err)
	}
	w, err := newWitness(url, monitoring, ed25519, mldsa)
	if err != nil {
		return err
	}
	e := &exam{log: l, witness: w}
	e.run()
	fmt.Printf("%d questions; answers as the specification has them: %v\n", e.asked, e.statuses)
	return errors.Join(e.wrong...)
}
