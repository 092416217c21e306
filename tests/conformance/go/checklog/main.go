// Checklog lets code that LedgerGrid's authors did not write judge a LedgerGrid log.
//
// It reads the log over HTTP as anybody can: its checkpoint, tiles and entry bundles (C2SP
// tlog-tiles), and the proofs and receipts of the JSON API. Verdicts come from
// golang.org/x/mod/sumdb, filippo.io/torchwood and transparency-dev's merkle and formats; where
// several of them know a format, all of them must agree.
//
// Whatever was accepted is then forged in many small ways, and every forgery must be refused:
// a check that cannot fail proves nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	var c config
	flag.StringVar(&c.log, "log", "", "prefix of the log's C2SP files, like http://127.0.0.1:8000/log/main")
	flag.StringVar(&c.api, "api", "", "prefix of its proofs and receipts; without it they are not checked")
	flag.StringVar(&c.vkey, "vkey", "", "the log's C2SP verifier key, name+hash+key")
	flag.StringVar(&c.witnesses, "witnesses", "", "file with a policy that receipts must meet, all of its witnesses asked for")
	flag.IntVar(&c.samples, "samples", 50, "how many entries to pick at random for proofs and receipts")
	flag.Uint64Var(&c.seed, "seed", 1, "chooses the picks and the flipped bits")
	limit := flag.Duration("timeout", 10*time.Minute, "give up after this long")
	flag.Parse()
	c.token = os.Getenv("LEDGERGRID_TOKEN")

	ctx, cancel := context.WithTimeout(context.Background(), *limit)
	defer cancel()
	if err := checkLog(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "checklog:", err)
		os.Exit(1)
	}
}

// checkLog judges the log, prints what was done and returns an error unless everything held.
func checkLog(ctx context.Context, c config) error {
	j, err := newJudge(c)
	if err != nil {
		return err
	}
	err = j.everything(ctx)
	fmt.Print(j.tally.report())
	if err = errors.Join(err, j.tally.verdict()); err == nil {
		fmt.Printf("everything held: %s, size %d, root %v\n", j.verifier.Name(), j.tree.N, j.tree.Hash)
	}
	return err
}
