package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// bench is one run: what all peers share, and the results so far.
type bench struct {
	options
	ctx        context.Context
	dir        string
	sink       *sink
	backend    *process
	address    string // of the backend
	h2c        string // its address for HTTP/2
	identity   *identity
	contenders []*contender
	results    map[string]map[string][]sample // by scenario and peer
}

// contender is a peer that takes part in this run.
type contender struct {
	peer
	path, release string
	skip          string   // why it cannot run; "": it can
	faults        []string // why it is missing in a scenario
}

func newBench(ctx context.Context, dir string, o options) (*bench, error) {
	b := &bench{options: o, ctx: ctx, dir: dir, results: map[string]map[string][]sample{}}
	for _, p := range peers {
		if (!o.short || p.short) && chosen(o.only, p.name, peerNames) {
			c := &contender{peer: p}
			c.find(ctx, dir)
			b.contenders = append(b.contenders, c)
		}
	}
	self, err1 := os.Executable()
	address, err2 := freeAddr()
	h2c, err3 := freeAddr()
	sink, err4 := newSink()
	identity, err5 := newIdentity()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	b.address, b.h2c, b.sink, b.identity = address, h2c, sink, identity
	backend, err := start(dir, "backend", self, "serve", "backend", address, h2c)
	if err != nil {
		return nil, err
	}
	b.backend = backend
	return b, backend.await(func() error {
		_, err := accepted(address)
		return err
	})
}

// scenario runs all rounds of s. A peer that fails once is left out of the rest.
func (b *bench) scenario(s scenario) {
	results, failed := map[string][]sample{}, map[string]bool{}
	b.results[s.name] = results
	rounds := min(b.rounds, s.rounds)
	for round := range rounds {
		first := round * len(b.contenders) / rounds
		for _, c := range slices.Concat(b.contenders[first:], b.contenders[:first]) {
			if c.skip != "" || failed[c.name] || !s.measures(c.peer) || b.ctx.Err() != nil {
				continue
			}
			got, err := b.measure(s, c)
			if err != nil {
				fmt.Fprintf(os.Stderr, "%s: %s: %v\n", s.name, c.name, err)
				failed[c.name] = true
				why, _, _ := strings.Cut(err.Error(), "\n")
				c.faults = append(c.faults, fmt.Sprintf("failed in %s: %s", s.name, why))
				delete(results, c.name)
				continue
			}
			fmt.Fprintf(os.Stderr, "%-9s round %d  %-22s %8.1f %s\n", s.name, round+1, c.name, got.cost, s.unit)
			results[c.name] = append(results[c.name], got)
		}
	}
}

// measure starts a peer, measures it for one window and stops it.
func (b *bench) measure(s scenario, c *contender) (sample, error) {
	if c.name == direct {
		return s.run(b, target{addr: b.address}, nil)
	}
	dir, err := os.MkdirTemp(b.dir, c.name)
	if err != nil {
		return sample{}, err
	}
	defer os.RemoveAll(dir)
	listen, err := freeAddr()
	if err != nil {
		return sample{}, err
	}
	spans := b.sink.spans.Load()
	to, set := target{addr: listen}, setting{wire: s.wire, Listen: listen, Backend: b.address, Sink: b.sink.url}
	if s.wire.TLS {
		to.tls = b.identity.trust
	}
	if s.wire.H2C {
		set.Backend = b.h2c
	}
	proc, err := c.launch(dir, to, b.identity, set)
	if err != nil {
		return sample{}, err
	}
	before, err1 := accepted(b.address)
	got, err2 := s.run(b, to, proc)
	after, err3 := accepted(b.address)
	proc.stop() // flushes its spans
	if err := errors.Join(err1, err2, err3); err != nil {
		return got, proc.fault(err)
	}
	if got.requests > 0 {
		got.spans = float64(b.sink.spans.Load()-spans) / got.requests
		err = c.proven(got, float64(after-before), filepath.Join(dir, "log"))
	}
	return got, err
}

// proven returns an error if the peer did not do the work that its figures include: to keep connections
// to the backend, to export spans, and to log every request.
func (c *contender) proven(got sample, dials float64, log string) error {
	if dials > 1000+got.requests/10 {
		return fmt.Errorf("%.0f connections to the backend for %.0f requests: it does not reuse connections", dials, got.requests)
	}
	if c.ratio > 0 && got.spans == 0 {
		return errors.New("no span reached /v1/traces of the sink")
	}
	if c.binary != "pace" || c.ratio == 0 {
		return nil
	}
	const lineSize = 100 // bytes of the shortest access line
	if info, err := os.Stat(log); err != nil {
		return err
	} else if float64(info.Size()) < lineSize*got.requests {
		return fmt.Errorf("%d bytes of log for %.0f requests", info.Size(), got.requests)
	}
	return nil
}
