package dial

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// resolver is the system's resolver. It also knows whether a lookup failed because this machine had no
// descriptor or port left. The system's errors say that only in their text, which is never compared.
type resolver struct {
	system net.Resolver
	last   atomic.Pointer[shortage]
}

// shortage is a time at which this machine had no socket to ask a name server with.
type shortage struct {
	at  time.Time
	err error
}

func newResolver() *resolver {
	r := &resolver{}
	r.system.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil && exhausted(err) {
			r.last.Store(&shortage{time.Now(), err})
		}
		return c, err
	}
	return r
}

// lookup resolves a name. If this machine had no socket for that, the error says so.
func (r *resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	began := time.Now()
	addrs, err := r.system.LookupNetIP(ctx, "ip", host)
	if err == nil {
		return addrs, nil
	}
	if s := r.last.Load(); s != nil && !s.at.Before(began) {
		return nil, s.err
	}
	// The C library's resolver opens its sockets itself. So see whether we could open one.
	c, probed := net.ListenPacket("udp", "127.0.0.1:0")
	if probed == nil {
		c.Close()
	} else if exhausted(probed) {
		return nil, probed
	}
	return nil, err
}
