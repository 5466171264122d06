package upstream

import (
	"context"
	"net"
	"strconv"
	"time"

	"pace/lb/health"
	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/upstream/check"
)

// Checks say how backends are checked. Without a Type they are not.
type Checks struct {
	check.Options
	Port int // that is checked; 0: that of the requests
}

// runner checks a backend. It is in shared.runners, until it is stopped.
type runner struct {
	*check.Runner
	how Checks
}

// checkAll has each backend of the newest Upstream checked as that says, and no other. Who is checked in that way
// already goes on. u.mu is held.
func (u *Upstream) checkAll(now time.Time) {
	wanted := map[*Backend]bool{}
	if len(u.inUse) > 0 {
		newest := u.inUse[len(u.inUse)-1]
		for _, m := range newest.members {
			if newest.o.Checks.Type == "" {
				newest.checkNoMore(m.Backend, now)
				continue
			}
			wanted[m.Backend] = true
			if r := u.runners[m.Backend]; r == nil || r.how != newest.o.Checks {
				u.start(m.Backend, newest.o.Checks)
			}
		}
	}
	for b, r := range u.runners {
		if !wanted[b] {
			r.Stop()
			delete(u.runners, b)
		}
	}
}

// start has b checked in this way from now on. s.mu is held.
func (s *shared) start(b *Backend, how Checks) {
	if r := s.runners[b]; r != nil {
		r.Stop()
	}
	r := &runner{how: how}
	s.runners[b] = r
	r.Runner = check.Start(how.Options, how.backend(b), func(result check.Result) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.runners[b] == r { // it may have been stopped meanwhile
			s.inUse[len(s.inUse)-1].checked(b, result)
		}
	})
}

// backend returns what a check knows of b.
func (c Checks) backend(b *Backend) check.Backend {
	return check.Backend{Authority: c.authority(b), Secure: b.tls != nil, HTTP2: b.speaksHTTP2(), Dial: c.dialer(b)}
}

// checked learns of the result of a check. u.mu is held.
func (u *Upstream) checked(b *Backend, r check.Result) {
	if r.Passed {
		u.checksPassed.Add(1)
	} else {
		u.checksFailed.Add(1)
	}
	b.condition.lastCheck = &r
	u.learn(b, r.At, func(m *health.Machine) (health.Transition, bool) {
		return m.Checked(&u.o.Health, r.At, r.Passed, r.Error)
	})
}

// checkNoMore forgets what checks of b have found. u.mu is held.
func (u *Upstream) checkNoMore(b *Backend, now time.Time) {
	if b.condition.lastCheck == nil {
		return
	}
	b.condition.lastCheck = nil
	u.learn(b, now, func(m *health.Machine) (health.Transition, bool) { return m.CheckNoMore(&u.o.Health, now) })
}

// Checks returns how many checks of the backends have passed and failed. ok is false if there are none.
func (u *Upstream) Checks() (passed, failed int64, ok bool) {
	passed, failed = u.checksPassed.Load(), u.checksFailed.Load()
	return passed, failed, passed+failed > 0 || u.o.Checks.Type != ""
}

// dialer returns what connects to b for a check. A name that was never resolved is resolved first.
func (c Checks) dialer(b *Backend) func(context.Context) (net.Conn, transport.Kind, error) {
	if b.unknown == nil {
		d := dial.New(c.address(b.at), c.dialOptions(b))
		return func(ctx context.Context) (net.Conn, transport.Kind, error) { return d.Dial(ctx, nil) }
	}
	return func(ctx context.Context) (net.Conn, transport.Kind, error) {
		resolved, kind, err := b.unknown.resolve(ctx)
		if err != nil {
			return nil, kind, err
		}
		return c.dialer(resolved)(ctx)
	}
}

// dialOptions say how a connection to b is made for a check: over TLS if requests are.
func (c Checks) dialOptions(b *Backend) dial.Options {
	o := dial.Options{Timeout: c.Timeout, Dial: b.o.Dial}
	if b.tls != nil {
		protocol := c.Protocol()
		if b.speaksHTTP2() {
			protocol = "h2"
		}
		o.TLS = b.tlsConfig(protocol)
	}
	return o
}

// address returns where a backend at a is checked.
func (c Checks) address(a dial.Address) dial.Address {
	if c.Port == 0 || a.Network != tcp {
		return a
	}
	checked := dial.Address{Network: a.Network, Addr: c.onPort(a.Addr)}
	for _, other := range a.Others {
		checked.Others = append(checked.Others, c.onPort(other))
	}
	return checked
}

// authority returns what the Host field of a check of b says.
func (c Checks) authority(b *Backend) string {
	if c.Port == 0 || b.at.Network != tcp {
		return b.Authority
	}
	return c.onPort(b.Authority)
}

// onPort returns an address with the port that is checked.
func (c Checks) onPort(addr string) string {
	host, _ := split(addr)
	return net.JoinHostPort(host, strconv.Itoa(c.Port))
}
