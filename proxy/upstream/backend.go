package upstream

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"pace/lb"
	"pace/lb/health"
	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream/check"
)

// Backend is a member of the pool: an address with its connections. A name that was never resolved is a Backend
// too; its attempts resolve it.
type Backend struct {
	*lb.Backend        // its Addr is "host:port", or the path of a unix socket
	Label       string // names it to a client
	Host        string // of Addr, without brackets; or the path
	Port        int    // of Addr; 0: a unix socket has none
	Authority   string // what a Host field calls it: as it is configured, or "localhost" for a unix socket

	at      dial.Address
	scheme  string    // HTTP, HTTPS, H2 or H2C
	tls     *dial.TLS // nil: none
	o       http1.Options
	conns   connections
	unknown *entry // of the name, if it was never resolved: conns is then nil

	token     string // in the cookies of clients that stay at it
	condition *condition

	limit    atomic.Int64 // of the requests in flight; 0: none
	users    atomic.Int32 // entries that have it
	observed atomic.Bool  // a policy goes by its response times
}

// newBackend returns the backend at a, without connections. It panics unless a has a host and a port, or is a path:
// the caller has validated what people write.
func (e *entry) newBackend(a dial.Address, authority string) *Backend {
	b := &Backend{
		at: a, scheme: e.Scheme, tls: e.tls(), o: e.u.o.Transport,
		Label: a.Addr, Host: a.Addr, Authority: authority, token: token(a.Addr),
	}
	b.Backend = &lb.Backend{Addr: a.Addr, Owner: b}
	if a.Network == tcp {
		b.Host, b.Port = split(a.Addr)
		b.Label = "backend_" + b.Host + "_" + strconv.Itoa(b.Port)
	}
	return b
}

const (
	tcp  = "tcp"
	unix = "unix"
)

func split(addr string) (host string, port int) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		panic(fmt.Sprintf("pace: BUG: backend %q: %v", addr, err))
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		panic(fmt.Sprintf("pace: BUG: backend %q: port is not a number from 1 to 65535", addr))
	}
	return host, int(n)
}

// owner returns the Backend that b is a part of, or nil.
func owner(b *lb.Backend) *Backend {
	if b == nil {
		return nil
	}
	return b.Owner.(*Backend)
}

// isAt reports whether b's connections go to a.
func (b *Backend) isAt(a dial.Address) bool {
	return b.unknown == nil && b.at.Network == a.Network && b.at.Addr == a.Addr && slices.Equal(b.at.Others, a.Others)
}

// Scheme is what is spoken to b: HTTP, HTTPS, H2 or H2C.
func (b *Backend) Scheme() string { return b.scheme }

// IsSecure reports whether b is spoken to over TLS.
func (b *Backend) IsSecure() bool { return b.tls != nil }

// connectsAs reports whether b makes its connections as those of e are made.
func (b *Backend) connectsAs(e *entry) bool {
	mine, its := b.o, e.u.o.Transport
	mine.Dial, its.Dial = nil, nil // a function of tests, which cannot be compared
	return b.scheme == e.Scheme && b.tls.Same(e.tls()) && reflect.DeepEqual(mine, its)
}

// tlsConfig returns how TLS is spoken to b, with these protocols of ALPN.
func (b *Backend) tlsConfig(protocols ...string) *tls.Config {
	host, _ := split(b.Authority)
	return b.tls.Config(host, protocols...)
}

// use notes that one more entry has b. u.mu is held.
func (b *Backend) use() {
	if b.users.Add(1) == 1 {
		b.condition.gain(b.Backend)
	}
}

// release notes that an entry does not have b any more. The last one closes the connections. u.mu is held.
func (b *Backend) release() {
	if b.users.Add(-1) > 0 {
		return
	}
	b.condition.lose(b.Backend)
	if b.conns != nil {
		b.conns.Close()
	}
}

// Do makes one attempt: it sends the request at most once. b must not be a name that was never resolved: see
// [Backend.Resolve]. Its errors are of type [*transport.Error].
func (b *Backend) Do(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	if b.observed.Load() && !req.HasBody() {
		return b.observe(ctx, req, resp)
	}
	return b.conns.Do(ctx, req, resp)
}

// failureCost is the response time that a failure counts as, if it did not take longer: a backend that fails at
// once must not look like a fast one.
const failureCost = time.Second

// observe makes an attempt, and notes how long the backend took to respond. The request has no body: how long a
// body takes is mostly the client's doing.
func (b *Backend) observe(ctx context.Context, req *transport.Request, resp *transport.Response) error {
	began := time.Now()
	err := b.conns.Do(ctx, req, resp)
	now := time.Now()
	took := now.Sub(began)
	failed := err == nil && resp.Status >= 500
	if e, is := errors.AsType[*transport.Error](err); is {
		if e.Kind.Side() != transport.Backend {
			return err
		}
		failed = true
	}
	if failed {
		took = max(took, failureCost)
	}
	b.Observe(now, took)
	return err
}

// Member is a backend at one instant.
type Member struct {
	*Backend
	Weight      int
	State       health.State
	Since       time.Time                // when it came into that state
	Reason      string                   // "" if that was when pace began to use it
	Changes     [health.StateCount]int64 // how often it came into each state
	Connections int                      // that are open, with idle ones and those of streams
	LastCheck   *check.Result            // nil: none yet
}

// Members returns all backends.
func (u *Upstream) Members() []Member {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]Member, len(u.members))
	for i := range u.members {
		list[i] = u.members[i].now()
	}
	return list
}

// now returns what is to be said of m. u.mu is held.
func (m *member) now() Member {
	one := Member{Backend: m.Backend, Weight: m.weight, LastCheck: m.condition.lastCheck}
	one.State, one.Since, one.Reason = m.condition.machine.State()
	if until := m.condition.pausedTo; until.After(time.Now()) && one.State.MayBePicked() {
		one.Reason = "paused until " + until.Format(time.TimeOnly) + ", as its Retry-After asks"
	}
	for i := range one.Changes {
		one.Changes[i] = m.condition.changes[i].Load()
	}
	if m.conns != nil {
		one.Connections = m.conns.Open()
	}
	return one
}

// Idle returns how many connections wait for a request.
func (b *Backend) Idle() int {
	if b.conns == nil {
		return 0
	}
	return b.conns.Idle()
}
