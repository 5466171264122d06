package observability

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

// ledger is the backends' own account: each attempt that reached one, in order of arrival.
type ledger struct {
	mu      sync.Mutex           // guards the following
	entries map[string][]attempt // by path
	arrived chan struct{}        // closed and replaced at each entry
}

// attempt is one attempt as its backend knows it.
type attempt struct {
	backend       string // host:port
	trace, parent string // of the traceparent that came with it
	ending
}

// ending is how an attempt ended by its backend's doing, in the words that its metric and span must use.
type ending struct {
	status  int    // 0: no header was sent
	failure string // error.type
}

func newLedger() *ledger {
	return &ledger{entries: map[string][]attempt{}, arrived: make(chan struct{})}
}

// behaviour is what a backend does to the nth attempt (from 0) at one target.
type behaviour func(nth int, x *pacetest.Exchange) (ending, pacetest.Answer)

// backend starts a backend that writes down each attempt before it behaves as the target's first
// segment says.
func (l *ledger) backend(t testing.TB, behaviours map[string]behaviour) *pacetest.Backend {
	t.Helper()
	var address string
	known := make(chan struct{})
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		<-known
		l.enter(address, x, behaviours)(x)
	})
	address = b.Address()
	close(known)
	return b
}

func (l *ledger) enter(backend string, x *pacetest.Exchange, behaviours map[string]behaviour) pacetest.Answer {
	target, _, _ := strings.Cut(x.Target, "?")
	segment, _, _ := strings.Cut(strings.TrimPrefix(target, "/"), "/")
	trace, parent, _ := pacetest.Traceparent(x.Header.Get("Traceparent"))
	l.mu.Lock()
	defer l.mu.Unlock()
	ends, act := behaviours[segment](len(l.entries[target]), x)
	l.entries[target] = append(l.entries[target], attempt{backend, trace, parent, ends})
	close(l.arrived)
	l.arrived = make(chan struct{})
	return act
}

// attempts returns what is known of one target.
func (l *ledger) attempts(target string) []attempt {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.entries[target])
}

// await blocks until an attempt at target has come, or ctx ends.
func (l *ledger) await(ctx context.Context, target string) {
	for {
		l.mu.Lock()
		n, arrived := len(l.entries[target]), l.arrived
		l.mu.Unlock()
		if n > 0 {
			return
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			return
		}
	}
}
