package dial

import (
	"context"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// resolver is the system's. It knows whether a lookup failed for want of a descriptor, which the
// system's errors tell in words only.
type resolver struct {
	system net.Resolver
	lacked atomic.Pointer[lack]
}

// lack is the last time that there was no socket to ask a name server with.
type lack struct {
	at  time.Time
	err error
}

func newResolver() *resolver {
	r := &resolver{}
	r.system.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil && exhausted(err) {
			r.lacked.Store(&lack{time.Now(), err})
		}
		return c, err
	}
	return r
}

// lookup resolves a name. If pace lacks what a lookup needs, that is the error.
func (r *resolver) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	began := time.Now()
	addrs, err := r.system.LookupNetIP(ctx, "ip", host)
	if err == nil {
		return addrs, nil
	}
	if l := r.lacked.Load(); l != nil && !l.at.Before(began) {
		return nil, l.err
	}
	// The C library's resolver opens its sockets itself: see whether we could open one.
	c, probed := net.ListenPacket("udp", "127.0.0.1:0")
	if probed == nil {
		c.Close()
	} else if exhausted(probed) {
		return nil, probed
	}
	return nil, err
}
