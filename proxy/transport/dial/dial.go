// Package dial connects to a backend for every transport. It resolves the backend's name, unless the backend
// is given by its address, and connects to the first of its addresses that accepts.
//
// It promises that a dial ends in time, that it reports which phase it is in, and that its error has a kind,
// which says whether the name, the backend or this machine failed. It must not know what is sent on the connection.
package dial

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"pace/proxy/transport"
)

// maxAddresses is how many addresses of one name a dial tries.
const maxAddresses = 16

const (
	lateness = 5 * time.Millisecond  // a timer that is later shows that the process was stopped or had no processor
	lastLook = 20 * time.Millisecond // how long a late timer waits for events that happened before it was due
)

// errTimeout is the cause that ends a dial's context when its time is up.
var errTimeout = errors.New("connect timeout")

// Options configures a Dialer; the zero value works.
type Options struct {
	Timeout time.Duration // of a whole dial, resolving the name included; 0: 1 s

	// Lookup resolves the backend's name. If it is nil, the system's resolver does, unless Dial is set: then
	// Dial gets the name.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	Dial   func(ctx context.Context, network, addr string) (net.Conn, error) // nil: a net.Dialer's
}

// Dialer makes connections to one backend. It is safe for concurrent use.
type Dialer struct {
	Addr       string
	host, port string // of Addr; host is "" unless it is a name to be resolved
	o          Options
}

// New returns a dialer to addr, which is "host:port".
func New(addr string, o Options) *Dialer {
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	if o.Lookup == nil && o.Dial == nil {
		o.Lookup = newResolver().lookup
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	d := &Dialer{Addr: addr, o: o}
	host, port, err := net.SplitHostPort(addr)
	if _, literal := netip.ParseAddr(host); o.Lookup != nil && err == nil && literal != nil {
		d.host, d.port = host, port
	}
	return d
}

// Resolves reports whether the backend is given by a name, which each dial resolves again.
func (d *Dialer) Resolves() bool { return d.host != "" }

// Dial connects to the backend. It calls enter with each phase that it enters: DNS if there is a name to
// resolve, then Connect. The kind says what failed. It means nothing if ctx ended: then the caller knows why.
func (d *Dialer) Dial(ctx context.Context, enter func(transport.Phase)) (net.Conn, transport.Kind, error) {
	if d.Resolves() {
		enter(transport.DNS)
	} else {
		enter(transport.Connect)
	}
	due := time.Now().Add(d.o.Timeout)
	ctx, cancel := endAt(ctx, due)
	defer cancel()
	addrs, err := d.resolve(ctx)
	if err != nil {
		if exhausted(err) {
			return nil, transport.Exhausted, err
		}
		return nil, transport.DNSFailed, err
	}
	enter(transport.Connect)
	c, err := d.connect(ctx, addrs, min(headStart, time.Until(due)/time.Duration(len(addrs))))
	if err != nil {
		return nil, connectKind(err), err
	}
	return c, 0, nil
}

// endAt returns a context that ends at due, or when ctx does.
//
// It ends a moment later than due if its timer is late. A late timer means that the process was stopped, or
// had no processor. A connection may have been established meanwhile, but its goroutine has not run yet: it
// and the timer are both ready, and the timer must not win. This would be unnecessary if the runtime polled
// the network before it ran timers that are due.
func endAt(ctx context.Context, due time.Time) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(time.Until(due), func() {
		if time.Since(due) > lateness {
			time.Sleep(lastLook)
		}
		end(errTimeout)
	})
	return ctx, func() {
		timer.Stop()
		end(nil)
	}
}

// resolve returns the addresses to connect to, in order.
func (d *Dialer) resolve(ctx context.Context) ([]string, error) {
	if !d.Resolves() {
		return []string{d.Addr}, nil
	}
	found, err := d.o.Lookup(ctx, d.host)
	switch {
	case err != nil && timedOut(ctx, err):
		return nil, &net.DNSError{Err: os.ErrDeadlineExceeded.Error(), Name: d.host, IsTimeout: true}
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, &net.DNSError{Err: "no address", Name: d.host, IsNotFound: true}
	}
	found = alternate(found)
	found = found[:min(len(found), maxAddresses)]
	addrs := make([]string, len(found))
	for i, a := range found {
		addrs[i] = net.JoinHostPort(a.String(), d.port)
	}
	return addrs, nil
}

// alternate orders addresses so that the two families take turns (RFC 8305 §4), since often a whole
// family is silent. The family of the first address goes first.
func alternate(found []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); len(first) == 0 || a.Is4() == first[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for i, a := range second {
		if at := 2*i + 1; at < len(first) {
			first = slices.Insert(first, at, a)
		} else {
			first = append(first, a)
		}
	}
	return first
}

// timedOut reports whether err is there only because the dial's time was up.
func timedOut(ctx context.Context, err error) bool {
	return context.Cause(ctx) == errTimeout && errors.Is(err, context.Canceled)
}
