package upstream

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"pace/lb"
	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// entry is one configured address, and the backends that it stands for: itself, or each address of its name.
//
// A name begins as unknown: its one backend resolves it at each attempt, until a lookup succeeds. From then on
// it has a backend for each address that was found. If Resolve is set, a timer looks again and again. What a
// lookup finds replaces what is there; a lookup that fails changes nothing.
//
//	unknown ── a request's lookup ──▶ known ──┐
//	                                   ▲      │ the timer's lookup
//	                                   └──────┘
type entry struct {
	Address
	u        *Upstream
	host     string // the name to resolve; "": Addr is no name
	port     int
	backends []*Backend // at least one
	known    bool       // backends are those of a name's addresses
	failed   bool       // the last lookup failed, and the log says so
	turn     int        // whose turn it is among the requests that resolved the name
	timer    *time.Timer
}

func newEntry(u *Upstream, a Address) *entry {
	a.Network, a.Scheme = cmp.Or(a.Network, tcp), cmp.Or(a.Scheme, HTTP)
	e := &entry{Address: a, u: u}
	if a.Network == tcp {
		host, port := split(a.Addr)
		if _, err := netip.ParseAddr(host); err != nil {
			e.host, e.port = host, port
		}
	}
	return e
}

// tls is how TLS is spoken to the backends of e; nil: it is not.
func (e *entry) tls() *dial.TLS {
	switch {
	case e.Network != tcp, e.Scheme != HTTPS && e.Scheme != H2:
		return nil
	case e.u.o.TLS == nil:
		return &dial.TLS{}
	}
	return e.u.o.TLS
}

// take gives e its first backends: those that before has, where they are the same. u.mu is held.
func (e *entry) take(before *Upstream) {
	if e.host == "" {
		e.backends = []*Backend{e.backend(dial.Address{Network: e.Network, Addr: e.Addr}, before, before != nil)}
		return
	}
	if before != nil {
		for _, old := range before.list {
			if old.known && old.Addr == e.Addr {
				for _, b := range old.backends {
					e.backends = append(e.backends, e.backend(b.at, before, true))
				}
				e.known = true
				e.look()
				return
			}
		}
	}
	b := e.newBackend(dial.Address{Network: tcp, Addr: e.Addr}, e.Addr)
	b.unknown = e
	b.condition = e.u.conditionOf(b.at, before, before != nil)
	b.limitTo(e.u.o.MaxRequests, e.u.o.MaxConnections)
	b.use()
	e.backends = []*Backend{b}
}

// backend returns the backend at a, for e to use: the same one that u or before has, or a new one. late says that a
// new one comes to others that have requests already. u.mu is held.
func (e *entry) backend(a dial.Address, before *Upstream, late bool) *Backend {
	authority := e.Addr
	if e.Network == unix {
		authority = "localhost"
	}
	b := e.u.find(a)
	if b == nil && before != nil {
		if b = before.find(a); b != nil && (b.Authority != authority || !b.connectsAs(e)) {
			b = nil
		}
	}
	if b == nil {
		b = e.newBackend(a, authority)
		b.connect()
		b.condition = e.u.conditionOf(a, before, late)
	}
	b.limitTo(e.u.o.MaxRequests, e.u.o.MaxConnections)
	b.use()
	if e.u.o.Policy == lb.PeakEWMA {
		b.observed.Store(true)
	}
	return b
}

// conditionOf returns the condition of the address a: the one that it has in u or before, or a new one. u.mu is held.
func (u *Upstream) conditionOf(a dial.Address, before *Upstream, late bool) *condition {
	for _, one := range []*Upstream{u, before} {
		if one == nil {
			continue
		}
		for _, e := range one.list {
			for _, b := range e.backends {
				if b.at.Network == a.Network && b.at.Addr == a.Addr {
					return b.condition
				}
			}
		}
	}
	return newCondition(&u.o.Health, late)
}

// close releases the backends. u.mu is held.
func (e *entry) close() {
	if e.timer != nil {
		e.timer.Stop()
	}
	for _, b := range e.backends {
		b.release()
	}
}

// resolve resolves the name for a request, and returns one of its backends, at which it has reserved room.
func (e *entry) resolve(ctx context.Context) (*Backend, transport.Kind, error) {
	found, kind, err := e.u.resolver.Lookup(ctx, e.host, cmp.Or(e.u.o.Transport.ConnectTimeout, time.Second))
	if err != nil {
		return nil, kind, err
	}
	e.u.mu.Lock()
	defer e.u.mu.Unlock()
	e.set(found)
	e.turn++
	for i := range e.backends {
		if b := e.backends[(e.turn+i)%len(e.backends)]; reserve(b.Backend) {
			return b, 0, nil
		}
	}
	return nil, transport.Full, errFull
}

// lookupTimeout is how long a lookup of the timer may take. Nobody waits for it.
const lookupTimeout = 10 * time.Second

// look sets the timer to the next lookup. u.mu is held.
func (e *entry) look() {
	switch {
	case e.u.o.Resolve == 0 || e.u.closed:
	case e.timer == nil:
		e.timer = time.AfterFunc(e.u.o.Resolve, e.lookAgain)
	default:
		e.timer.Reset(e.u.o.Resolve)
	}
}

// lookAgain resolves the name once more. It runs on the timer's goroutine.
func (e *entry) lookAgain() {
	found, _, err := e.u.resolver.Lookup(context.Background(), e.host, lookupTimeout)
	e.u.mu.Lock()
	defer e.u.mu.Unlock()
	defer e.look()
	if err == nil {
		e.set(found)
		return
	}
	if !e.failed {
		e.failed = true
		e.log(slog.LevelWarn, "name not resolved, its last addresses stay in use", slog.String("error", err.Error()))
	}
}

// set makes the addresses that were found the backends of e. What is gone is drained: its connections are closed
// when their exchanges end. u.mu is held.
func (e *entry) set(found []netip.Addr) {
	if e.u.closed && e.known {
		return
	}
	e.failed = false
	wanted := e.addresses(found)
	same := e.known && slices.EqualFunc(wanted, e.backends, func(a dial.Address, b *Backend) bool { return b.isAt(a) })
	if same {
		return
	}
	last := e.backends
	next := make([]*Backend, len(wanted))
	for i, a := range wanted {
		next[i] = e.backend(a, nil, e.known)
	}
	e.backends = next
	if e.known {
		e.log(slog.LevelInfo, "addresses of a name changed", slog.Any("appeared", without(next, last)), slog.Any("gone", without(last, next)))
	} else {
		e.look()
	}
	if !e.known {
		e.u.orderAs(last[0], next)
	}
	e.known = true
	e.u.publish()
	for _, b := range last {
		b.release()
	}
	if e.u.closed { // a request that began before has resolved the name
		e.close()
	}
}

// without returns the addresses of the backends in list that are not in other.
func without(list, other []*Backend) []string {
	addrs := []string{}
	for _, b := range list {
		if !slices.Contains(other, b) {
			addrs = append(addrs, b.Addr)
		}
	}
	return addrs
}

func (e *entry) log(level slog.Level, msg string, attrs ...slog.Attr) {
	if e.u.o.Log == nil {
		return
	}
	attrs = append([]slog.Attr{slog.String("upstream", e.u.Name), slog.String("name", e.host)}, attrs...)
	e.u.o.Log.LogAttrs(context.Background(), level, msg, attrs...)
}

const (
	maxAddresses = 1024 // backends of one name
	maxOthers    = 4    // more addresses of one backend
)

// addresses returns the addresses of the backends that e's name stands for, in order of the addresses, so that
// two lookups with the same addresses give the same.
//
// Each address is a backend. But if there are addresses of both families, they are mostly two ways to the same
// machines, and often one of the ways does not work: the backends are then those of the family that the
// resolver prefers, and a dial tries the others if the backend's own address does not accept.
func (e *entry) addresses(found []netip.Addr) []dial.Address {
	first := found[0].Unmap().Is4()
	var own, others []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); a.Is4() == first {
			own = append(own, a)
		} else {
			others = append(others, a)
		}
	}
	var texts []string
	for _, a := range distinct(others, maxOthers) {
		texts = append(texts, e.at(a))
	}
	own = distinct(own, maxAddresses)
	list := make([]dial.Address, len(own))
	for i, a := range own {
		list[i] = dial.Address{Network: tcp, Addr: e.at(a), Others: texts}
	}
	return list
}

func (e *entry) at(a netip.Addr) string { return net.JoinHostPort(a.String(), strconv.Itoa(e.port)) }

// distinct returns the addresses in order, each once, and no more than limit.
func distinct(list []netip.Addr, limit int) []netip.Addr {
	slices.SortFunc(list, netip.Addr.Compare)
	list = slices.Compact(list)
	return list[:min(len(list), limit)]
}
