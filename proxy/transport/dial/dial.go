// Package dial connects to a backend for every transport, and resolves the backend's name.
//
// It promises that a dial and a lookup end in time, and that their errors have a kind, which says whether the
// name, the backend or this machine failed. It must not know what is sent on a connection.
package dial

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"pace/proxy/transport"
)

const (
	lateness = 5 * time.Millisecond  // a timer that is later shows that the process was stopped or had no processor
	lastLook = 20 * time.Millisecond // how long a late timer waits for events that happened before it was due
)

// errTimeout is the cause that ends the context of a dial or a lookup when its time is up.
var errTimeout = errors.New("timeout")

// Options configures a Dialer; the zero value works.
type Options struct {
	Timeout time.Duration // of a whole dial, with the handshake of TLS; 0: 1 s

	// TLS is made on each connection; nil: none is. The connections are then of type [*Secure]. No other Dialer
	// may have it.
	TLS *tls.Config

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: a net.Dialer's
}

// Address is where a backend is: "host:port" in the network "tcp", or the path of a socket in "unix".
type Address struct {
	Network, Addr string
	Others        []string // more addresses of the same backend, tried if Addr does not accept
}

// Dialer makes connections to one backend. It is safe for concurrent use.
type Dialer struct {
	Address
	o Options
}

// New returns a dialer to a.
func New(a Address, o Options) *Dialer {
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return &Dialer{a, o}
}

// Dial connects to the backend. onTLS is called before a handshake; it may be nil. The kind says what failed. It
// means nothing if ctx ended: then the caller knows why. A handshake that failed is a [*HandshakeError].
func (d *Dialer) Dial(ctx context.Context, onTLS func()) (net.Conn, transport.Kind, error) {
	ctx, cancel := endAt(ctx, time.Now().Add(d.o.Timeout))
	defer cancel()
	c, err := d.connect(ctx)
	if err != nil {
		return nil, connectKind(err), err
	}
	if d.o.TLS == nil {
		return c, 0, nil
	}
	if onTLS != nil {
		onTLS()
	}
	return d.secure(ctx, c)
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

// timedOut reports whether err is there only because the time for the dial or the lookup was up.
func timedOut(ctx context.Context, err error) bool {
	return context.Cause(ctx) == errTimeout && errors.Is(err, context.Canceled)
}
