// Package lb chooses the backend for the next attempt, and gives the reason. Its list of backends never
// changes, so [Pool.Pick] takes no lock and allocates nothing. It must not know HTTP, OpenTelemetry, or
// any other package of pace.
package lb

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
)

// Backend is one address that requests are sent to. Its pointer is its identity: two pools never share
// a Backend, even for the same address.
type Backend struct {
	Addr string // "host:port", as given to NewPool; do not change it

	host string
	port int
}

// Host returns the host of Addr, without brackets.
func (b *Backend) Host() string { return b.host }

// Port returns the port of Addr, 1 to 65535.
func (b *Backend) Port() int { return b.port }

// Pool is a fixed list of backends that are picked in turn.
type Pool struct {
	backends []*Backend
	first    atomic.Uint64 // first attempts so far
	further  atomic.Uint64 // further attempts so far
}

// NewPool returns a pool of the backends at addrs, each "host:port" with a number as port. It panics on
// anything else: the caller has validated what people write.
func NewPool(addrs []string) *Pool {
	p := &Pool{backends: make([]*Backend, len(addrs))}
	for i, addr := range addrs {
		p.backends[i] = newBackend(addr)
	}
	return p
}

func newBackend(addr string) *Backend {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("pace: BUG: backend %q: %v", addr, err))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		panic(fmt.Sprintf("pace: BUG: backend %q: port is not a number from 1 to 65535", addr))
	}
	return &Backend{Addr: addr, host: host, port: int(n)}
}

// Backends returns the pool's backends in the order given. The slice belongs to the pool: do not change
// it.
func (p *Pool) Backends() []*Backend { return p.backends }

// Pick chooses a backend that is not in tried. tried holds the backends that this exchange has tried
// already; it is nil for the first attempt. Pick is safe for concurrent use.
//
// First attempts go to the backends in turn: of n consecutive ones, each of n backends gets exactly one.
// Further attempts take turns among the backends that remain, with a separate counter. With one counter
// for both, the attempt after a dead backend would use the turn of a live one: with two backends, every
// exchange would start at the dead one.
func (p *Pool) Pick(tried []*Backend) Pick {
	n := uint64(len(p.backends))
	switch {
	case n == 0:
		return Pick{Reason: Empty}
	case len(tried) == 0:
		return Pick{Backend: p.backends[(p.first.Add(1)-1)%n], Reason: InTurn}
	}
	remaining := p.remaining(tried)
	if remaining == 0 {
		return Pick{Reason: AllTried, Passed: int(n)}
	}
	return p.pickRemaining(tried, (p.further.Add(1)-1)%remaining)
}

// remaining returns how many backends are not in tried.
func (p *Pool) remaining(tried []*Backend) (n uint64) {
	for _, b := range p.backends {
		if !slices.Contains(tried, b) {
			n++
		}
	}
	return n
}

// pickRemaining chooses among the backends that are not in tried. It skips the first skip of them.
func (p *Pool) pickRemaining(tried []*Backend, skip uint64) Pick {
	passed := 0
	for _, b := range p.backends {
		switch {
		case slices.Contains(tried, b):
			passed++
		case skip == 0:
			return Pick{Backend: b, Reason: InTurn, Passed: passed}
		default:
			skip--
		}
	}
	panic("pace: BUG: fewer backends remain than were counted")
}
