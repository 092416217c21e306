package main

import (
	"errors"
	"fmt"
	"strings"
)

// maxShown bounds the discrepancies printed per area: one broken hash can fail thousands of checks.
const maxShown = 10

// tally counts what was checked and what was refused, and remembers every discrepancy.
type tally struct {
	areas []*area
}

// area is one line of the report.
type area struct {
	name             string
	checks, refusals int
	discrepancies    []string
}

// area returns the line with this name, made on first use.
func (t *tally) area(name string) *area {
	for _, a := range t.areas {
		if a.name == name {
			return a
		}
	}
	a := &area{name: name}
	t.areas = append(t.areas, a)
	return a
}

// holds counts a check: err says why it does not hold.
func (a *area) holds(err error, what string, args ...any) {
	a.checks++
	if err != nil {
		a.wrong(fmt.Sprintf(what, args...) + ": " + err.Error())
	}
}

// refused counts a forgery: err is why it was refused, and nil means that it was taken.
func (a *area) refused(err error, what string, args ...any) {
	a.refusals++
	if err == nil {
		a.wrong("forgery accepted: " + fmt.Sprintf(what, args...))
	}
}

func (a *area) wrong(discrepancy string) {
	a.discrepancies = append(a.discrepancies, discrepancy)
}

// report prints one line per area, and under it what went wrong there.
func (t *tally) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %9s %9s\n", "", "checks", "refusals")
	checks, refusals := 0, 0
	for _, a := range t.areas {
		fmt.Fprintf(&b, "%-12s %9d %9d\n", a.name, a.checks, a.refusals)
		for i, d := range a.discrepancies {
			if i == maxShown {
				fmt.Fprintf(&b, "  ... and %d more\n", len(a.discrepancies)-maxShown)
				break
			}
			fmt.Fprintf(&b, "  WRONG: %s\n", d)
		}
		checks, refusals = checks+a.checks, refusals+a.refusals
	}
	fmt.Fprintf(&b, "%-12s %9d %9d\n", "total", checks, refusals)
	return b.String()
}

// verdict is an error if anything was wrong, or if some area was not really examined.
func (t *tally) verdict() error {
	var errs []error
	for _, a := range t.areas {
		if n := len(a.discrepancies); n > 0 {
			errs = append(errs, fmt.Errorf("%s: %d discrepancies", a.name, n))
		}
		if a.checks == 0 || a.refusals == 0 {
			errs = append(errs, fmt.Errorf("%s: only %d checks and %d refusals, so nothing was proved", a.name, a.checks, a.refusals))
		}
	}
	return errors.Join(errs...)
}
