package dial

import (
	"context"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"pace/proxy/transport"
)

// Resolver resolves the names of backends. It is safe for concurrent use.
type Resolver struct {
	lookup func(ctx context.Context, host string) ([]netip.Addr, error)
}

// NewResolver returns a Resolver that asks lookup; nil: the system's resolver.
func NewResolver(lookup func(ctx context.Context, host string) ([]netip.Addr, error)) *Resolver {
	if lookup == nil {
		lookup = newSystem().lookup
	}
	return &Resolver{lookup}
}

// Lookup returns the addresses of host, at least one, in the order in which the resolver prefers them. It fails
// after timeout. The kind says what failed. It means nothing if ctx ended: then the caller knows why.
func (r *Resolver) Lookup(ctx context.Context, host string, timeout time.Duration) ([]netip.Addr, transport.Kind, error) {
	ctx, cancel := endAt(ctx, time.Now().Add(timeout))
	defer cancel()
	found, err := r.lookup(ctx, host)
	switch {
	case err != nil && timedOut(ctx, err):
		return nil, transport.DNSFailed, &net.DNSError{Err: os.ErrDeadlineExceeded.Error(), Name: host, IsTimeout: true}
	case err != nil && exhausted(err):
		return nil, transport.Exhausted, err
	case err != nil:
		return nil, transport.DNSFailed, err
	case len(found) == 0:
		return nil, transport.DNSFailed, &net.DNSError{Err: "no address", Name: host, IsNotFound: true}
	}
	return found, 0, nil
}

// system is the system's resolver. It also knows whether a lookup failed because this machine had no descriptor
// or port left. The system's errors say that only in their text, which is never compared.
type system struct {
	resolver net.Resolver
	last     atomic.Pointer[shortage]
}

// shortage is a time at which this machine had no socket to ask a name server with.
type shortage struct {
	at  time.Time
	err error
}

func newSystem() *system {
	s := &system{}
	s.resolver.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil && exhausted(err) {
			s.last.Store(&shortage{time.Now(), err})
		}
		return c, err
	}
	return s
}

// lookup resolves a name. If this machine had no socket for that, the error says so.
func (s *system) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	began := time.Now()
	addrs, err := s.resolver.LookupNetIP(ctx, "ip", host)
	if err == nil {
		return addrs, nil
	}
	if last := s.last.Load(); last != nil && !last.at.Before(began) {
		return nil, last.err
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
