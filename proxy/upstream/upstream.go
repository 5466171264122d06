// Package upstream is a pool of backends at work: which backend gets a request first, over which connections
// it is sent, and what follows an attempt that failed. It sends nothing twice that might then be done twice
// ([MayRepeat]).
//
// It must not know the client's side, records or outcomes: what it decides it returns, with what the caller
// needs to write it down.
package upstream

import (
	"context"
	"net/netip"
	"strconv"

	"pace/lb"
	"pace/proxy/transport"
	"pace/proxy/transport/http1"
)

// Options describe an Upstream; Pool must be set.
type Options struct {
	Name      string
	Pool      *lb.Pool
	Transport http1.Options
	Failovers int // of one request; 0: none
}

// Upstream is a pool of backends, each with its connections. Safe for concurrent use.
type Upstream struct {
	Name      string
	pool      *lb.Pool
	failovers int
	backends  map[*lb.Backend]*Backend // only read
}

// Backend is a member of the pool.
type Backend struct {
	*lb.Backend
	Label string // names it to a client
	conns *http1.Pool
}

// New returns an Upstream; it connects when the first request comes.
func New(o Options) *Upstream {
	u := &Upstream{Name: o.Name, pool: o.Pool, failovers: o.Failovers, backends: map[*lb.Backend]*Backend{}}
	for _, b := range o.Pool.Backends() {
		u.backends[b] = &Backend{
			Backend: b,
			Label:   "backend_" + b.Host() + "_" + strconv.Itoa(b.Port()),
			conns:   http1.NewPool(b.Addr, o.Transport),
		}
	}
	return u
}

// Close closes the idle connections.
func (u *Upstream) Close() {
	for _, b := range u.backends {
		b.conns.Close()
	}
}

// First returns the backend for a request's first attempt, nil if nobody is left. A client who has logged in
// on pin's connection goes where its login is known.
func (u *Upstream) First(pin *transport.Pin, client netip.Addr) *Backend {
	if b := u.loggedInAt(pin, client); b != nil {
		return b
	}
	return u.backends[u.pool.Pick(nil).Backend]
}

// loggedInAt returns the backend at which client has logged in by pin's connection, or nil.
func (u *Upstream) loggedInAt(pin *transport.Pin, client netip.Addr) *Backend {
	pool := pin.Pool(client)
	if pool == nil {
		return nil
	}
	for _, b := range u.backends {
		if b.conns == pool {
			return b
		}
	}
	return nil
}

// Do makes one attempt: it sends the request at most once. Its errors are of type [*transport.Error].
func (b *Backend) Do(ctx context.Context, req *transport.Request, resp *http1.Response) error {
	return b.conns.Do(ctx, req, resp)
}

// Idle returns how many connections wait for a request.
func (b *Backend) Idle() int { return b.conns.Idle() }
