// Package upstream is a pool of backends at work: which backend gets a request first, over which connections
// it is sent, and what follows an attempt that failed. It sends nothing twice that might then be done twice
// ([MayRepeat]). Each address of a backend's name is a backend, and names are resolved again while pace runs.
//
// It must not know the client's side, records or outcomes: what it decides it returns, with what the caller
// needs to write it down.
package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"pace/lb"
	"pace/lb/health"
	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
)

// Options describe an Upstream.
type Options struct {
	Name      string
	Addresses []Address
	Transport http1.Options
	TLS       *dial.TLS     // of the backends over TLS; nil: the zero value
	Resolve   time.Duration // how often names are resolved again; 0: once
	Retry     RetryOptions

	Policy       *lb.Policy // nil: lb.RoundRobin
	HashBy       By         // of the policy lb.Hash
	StickyCookie string     // name of the cookie that keeps a client at its backend; "": none

	MaxRequests    int // in flight at each backend; 0: any number
	MaxConnections int // to each backend; 0: any number

	DrainStreams time.Duration // that the streams at a backend which an operator drains get; 0: any time

	Health   health.Rules
	MaxShare float64 // of the backends, that may be ejected at once
	Checks   Checks

	Log      *slog.Logger // gets a line when the addresses of a name change, and about panic; nil: none
	OnChange func(Change) // is told of each change of state of a backend, in order; it must not call the Upstream; may be nil

	// Lookup resolves names. nil: the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Address is a backend as it is configured.
type Address struct {
	Network string // "tcp", or "unix" for a socket in the file system; "": tcp
	Addr    string // "host:port" with a number as port, or the path of the socket
	Scheme  string // what is spoken there: HTTP, HTTPS, H2 or H2C; "": HTTP
	Weight  int    // from 1; 0: 1
}

// The schemes of an address.
const (
	HTTP  = "http"
	HTTPS = "https" // TLS; HTTP/2 or HTTP/1.1, as the backend chooses
	H2    = "h2"    // TLS; HTTP/2 only
	H2C   = "h2c"   // HTTP/2 without TLS
)

// Upstream is a pool of backends, each with its connections. It is safe for concurrent use.
//
// A reload makes a new Upstream where something about it has changed, and gives it the one before:
//
//	next := upstream.New(options, before) // takes over the backends that stay the same
//	…                                     // puts next in force, or closes it if the configuration is refused
//	before.Close()                        // once no new request gets it
//
// What stays the same is a backend's address and how its connections are made. Such a backend keeps its
// connections and its state, whichever of the two is closed first. The budget goes on with its counts. Requests that still use a closed Upstream go
// on: each connection is closed when its exchange ends. Addresses of names that before knows are taken over
// too, so that no request waits for a name again.
type Upstream struct {
	Name     string
	o        Options
	resolver *dial.Resolver
	pool     lb.Pool       // the backends that are picked
	out      lb.Pool       // those that are not, and not drained either: they are asked when all others have failed
	special  atomic.Uint32 // what a pick must look after; mostly 0
	budget   budget

	repeatsReset bool // Repeats(upstreamReset)
	mayRefuse    bool // a backend may speak HTTP/2, and so say that it has not processed a request

	*shared          // with the one before it, and the one after it; its mu guards what follows
	list    []*entry // one for each address, in order
	members []member // all backends
	closed  bool
}

// New returns an Upstream. It connects, and resolves names, when the first request or check comes. before may be nil.
func New(o Options, before *Upstream) *Upstream {
	if o.Retry.On == nil {
		o.Retry.On = DefaultOn
	}
	u := &Upstream{Name: o.Name, o: o, resolver: dial.NewResolver(o.Lookup), list: make([]*entry, len(o.Addresses))}
	u.pool.Policy = o.Policy
	before = u.share(before)
	defer u.mu.Unlock()
	for i, a := range o.Addresses {
		u.list[i] = newEntry(u, a)
	}
	for _, e := range u.list {
		e.take(before)
	}
	u.budget = budget{o.Retry.Budget, &u.spending}
	u.repeatsReset = u.Repeats(upstreamReset)
	u.mayRefuse = slices.ContainsFunc(o.Addresses, func(a Address) bool { return cmp.Or(a.Scheme, HTTP) != HTTP })
	u.inUse = append(u.inUse, u)
	u.publish()
	return u
}

// share locks what u has in common with before, whose backends must not be closed until u has taken them over. It
// returns before, or nil if that is closed.
func (u *Upstream) share(before *Upstream) *Upstream {
	if before != nil {
		u.shared = before.shared
		if u.mu.Lock(); !before.closed {
			return before
		}
		u.mu.Unlock()
	}
	u.shared = &shared{runners: map[*Backend]*runner{}, spending: spending{start: time.Now()}}
	u.mu.Lock()
	return nil
}

// Close closes the connections of backends that no other Upstream has taken over: idle ones at once, and others
// when their exchanges end. It does not wait.
func (u *Upstream) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return
	}
	u.closed = true
	for _, e := range u.list {
		e.close()
	}
	u.inUse = slices.DeleteFunc(u.inUse, func(one *Upstream) bool { return one == u })
	now := time.Now()
	u.setTimer(now)
	u.checkAll(now)
}

// publish makes the backends of all entries the members. u.mu is held. Two entries may have the same backend, if a
// name has an address that is configured too: it has both weights.
func (u *Upstream) publish() {
	u.members = nil
	index := map[*Backend]int{}
	for _, e := range u.list {
		for _, b := range e.backends {
			if i, ok := index[b]; ok {
				u.members[i].weight += max(e.Weight, 1)
				continue
			}
			index[b] = len(u.members)
			u.members = append(u.members, member{b, max(e.Weight, 1)})
		}
	}
	now := time.Now()
	if u.closed { // its last requests still pick
		u.apply(now)
	}
	u.applyAll(now)
	u.checkAll(now)
}

// find returns the backend of u that is at a, or nil. u.mu is held.
func (u *Upstream) find(a dial.Address) *Backend {
	for _, e := range u.list {
		for _, b := range e.backends {
			if b.isAt(a) {
				return b
			}
		}
	}
	return nil
}

// Backends returns the backends that are picked now.
func (u *Upstream) Backends() []*Backend {
	list := u.pool.Backends()
	backends := make([]*Backend, len(list))
	for i, b := range list {
		backends[i] = owner(b)
	}
	return backends
}

// Begin counts a request that is about to be made, for the budget of further attempts.
func (u *Upstream) Begin(now time.Time) { u.budget.request(now) }

// First returns the first attempt of a request; its Backend is nil if there is none. A client that has logged in
// on the connection of its pin goes where the login is known, and one with a cookie of this upstream's to the
// backend that the cookie names, while these may be picked. A backend that is ejected and whose time is up gets one
// request. For all others the policy chooses. The request is in flight at the backend until the caller calls
// [Backend.End], once.
func (u *Upstream) First(r *Request) Step {
	if b := u.loggedInAt(r.Pin, r.Client); b != nil && reserve(b.Backend) {
		return u.picked(Step{Backend: b, Reason: pickedByLogin})
	}
	if b := u.stickyTo(r.Header); b != nil && reserve(b.Backend) {
		return u.picked(Step{Backend: b, Reason: pickedByCookie})
	}
	if u.special.Load()&trialDue != 0 {
		if b := u.takeTrial(r); b != nil {
			return Step{Backend: b, Reason: pickedAsTrial, Trial: true}
		}
	}
	asked := lb.Request{Now: r.Now, Reserve: reserve}
	if u.o.Policy == lb.Hash {
		asked.Key = u.o.HashBy.Key(r)
	}
	pick := u.pool.Pick(asked)
	step := Step{Backend: owner(pick.Backend), Full: pick.Reason == lb.AllFull}
	if pick.Reason != lb.InTurn {
		step.Reason = pick.Reason.String()
	}
	return u.picked(step)
}

// picked notes that a step is made in panic, if it is.
func (u *Upstream) picked(s Step) Step {
	if u.special.Load()&inPanic != 0 && s.Backend != nil {
		u.panicPicks.Add(1)
		s.Reason = cmp.Or(s.Reason, pickedInPanic)
	}
	return s
}

// PanicPicks returns how often a backend was picked although none might be.
func (u *Upstream) PanicPicks() int64 { return u.panicPicks.Load() }

// loggedInAt returns the backend at which client has logged in by pin's connection, or nil.
func (u *Upstream) loggedInAt(pin *transport.Pin, client netip.Addr) *Backend {
	if pin == nil {
		return nil
	}
	pool := pin.Pool(client)
	if pool == nil {
		return nil
	}
	for _, b := range u.pool.Backends() {
		if owner(b).hasPinned(pool) {
			return owner(b)
		}
	}
	return nil
}
