// Package lb chooses the backend for the next attempt, and says why. It decides on an
// immutable list: [Pool.Pick] takes no lock and allocates nothing. It must not know HTTP,
// OpenTelemetry, or any other package of pace.
package lb

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
)

// Backend is one server that can answer. Its identity is its pointer: two pools never
// share one, even for the same address.
type Backend struct {
	Addr string // "host:port", as given to NewPool; not to be changed

	host string
	port int
}

// Host is the host of Addr, without brackets.
func (b *Backend) Host() string { return b.host }

// Port is the port of Addr, 1 to 65535.
func (b *Backend) Port() int { return b.port }

// Pool is a fixed list of backends that are picked in turn.
type Pool struct {
	backends []*Backend
	turn     atomic.Uint64 // first attempts so far
	detour   atomic.Uint64 // further attempts so far
}

// NewPool makes a pool of the backends at addrs, each "host:port" with a number as port.
// It panics on anything else: reading what a person wrote is the caller's task.
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

// Backends lists the pool's backends in the order given. The slice is the pool's own:
// read it only.
func (p *Pool) Backends() []*Backend { return p.backends }

// Pick chooses a backend that is not in tried, the backends that this exchange has tried
// before; nil for its first attempt. It is safe for concurrent use.
//
// First attempts go round: of any n consecutive ones over n backends, each backend gets
// exactly one. Further attempts go round among the backends that are left, on a counter of
// their own. On one counter for both, the attempt after a dead backend would use up the
// turn of a live one, and with two backends every exchange would start at the dead one.
func (p *Pool) Pick(tried []*Backend) Pick {
	n := uint64(len(p.backends))
	switch {
	case n == 0:
		return Pick{Reason: Empty}
	case len(tried) == 0:
		return Pick{Backend: p.backends[(p.turn.Add(1)-1)%n], Reason: InTurn}
	}
	left := p.left(tried)
	if left == 0 {
		return Pick{Reason: AllTried, Passed: int(n)}
	}
	return p.pickLeft(tried, (p.detour.Add(1)-1)%left)
}

// left counts the backends that are not in tried.
func (p *Pool) left(tried []*Backend) (n uint64) {
	for _, b := range p.backends {
		if !slices.Contains(tried, b) {
			n++
		}
	}
	return n
}

// pickLeft chooses the backend that has skip others before it that are not in tried.
func (p *Pool) pickLeft(tried []*Backend, skip uint64) Pick {
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
	panic("pace: BUG: fewer backends left than counted")
}
