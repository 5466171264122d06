package recent

import (
	"errors"
	"sync/atomic"

	"pace/telemetry"
)

const (
	// tailLength is how many exchanges wait for a reader that is slower than they come.
	tailLength = 256

	// maxTails is how many readers there may be at once.
	maxTails = 32
)

// ErrTooManyTails says that [Ring.Follow] has too many readers already.
var ErrTooManyTails = errors.New("too many readers follow already; end one of them")

// Tail is who follows the interesting exchanges as they end. What it cannot take in time it loses.
type Tail struct {
	filter  Filter
	records chan *telemetry.Record
	lost    atomic.Int64
}

// Follow returns a Tail of what the filter asks for. It must be given back by Unfollow.
func (g *Ring) Follow(f Filter) (*Tail, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.tails) == maxTails {
		return nil, ErrTooManyTails
	}
	t := &Tail{filter: f, records: make(chan *telemetry.Record, tailLength)}
	g.tails[t] = true
	return t, nil
}

// Unfollow ends t, and lets go of what it has not read.
func (g *Ring) Unfollow(t *Tail) {
	g.mu.Lock()
	delete(g.tails, t)
	g.mu.Unlock()
	for {
		select {
		case r := <-t.records:
			r.Release()
		default:
			return
		}
	}
}

// send gives the record to all who follow. It waits for nobody.
func (g *Ring) send(r *telemetry.Record) {
	for t := range g.tails {
		if !t.filter.matches(r) {
			continue
		}
		r.Retain()
		select {
		case t.records <- r:
		default:
			r.Release()
			t.lost.Add(1)
		}
	}
}
