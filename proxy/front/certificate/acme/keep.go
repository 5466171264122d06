package acme

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
)

const (
	slowest         = 10 * time.Minute // between two looks at a name, where its certificate lives long
	fastest         = time.Second
	looksInLifetime = 50
	never           = 100 * 365 * 24 * time.Hour

	patience = 10 * time.Minute // longest attempt
	longest  = time.Hour        // longest wait after a failure, unless the CA asks for a longer one
)

// keep looks at a name again and again: it asks for its certificate if there is none, and renews it when it is due.
func (m *Manager) keep(domain string) {
	failures := 0
	if !m.wait(time.Until(m.retryAt(domain, m.Directory))) {
		return
	}
	for {
		a := &attempt{replaces: m.ownInForce(domain)}
		if failures > 0 {
			a.replaces = nil // the CA may refuse the order for that
		}
		err := m.look(domain, a)
		next := time.Duration(m.lookEvery.Load())
		switch {
		case m.ctx.Err() != nil:
			return
		case err != nil:
			next = max(m.Spread(backoff(err, failures, !a.retryAt.IsZero())), time.Until(a.retryAt))
			failures++
			m.failed(domain, err, a, next)
		default:
			failures = 0
		}
		if !m.wait(next) {
			return
		}
	}
}

// look has certmagic look after a name once: it loads what is stored, and asks the CA if there is nothing or if
// it is due. Another process may have renewed it in the same storage.
func (m *Manager) look(domain string, a *attempt) error {
	ctx, cancel := context.WithTimeout(context.WithValue(m.ctx, attemptKey{}, a), patience)
	defer cancel()
	m.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: domain}}) // else it is thought to be looked after
	before := m.InForce(domain)
	if err := m.config.ManageSync(ctx, []string{domain}); err != nil {
		return err
	}
	if !m.adopt(domain) {
		return nil
	}
	now := m.InForce(domain)
	m.Changed()
	msg := "certificate renewed"
	if before == nil {
		msg = "certificate issued"
	}
	m.log(slog.LevelInfo, msg, domain, slog.String("directory", m.Directory), slog.Time("not_after", now.Leaf.NotAfter))
	return nil
}

// failed reports an attempt that failed.
func (m *Manager) failed(domain string, err error, a *attempt, next time.Duration) {
	m.mu.Lock()
	m.names[domain].retryAt = a.retryAt
	m.mu.Unlock()
	m.Failed()
	attrs := []slog.Attr{errorAttr(err), slog.String("directory", m.Directory), slog.Duration("again_in", next.Round(time.Second))}
	if c := m.InForce(domain); c != nil {
		m.log(slog.LevelWarn, "certificate not renewed: the one before stays in force", domain, append(attrs, slog.Time("not_after", c.Leaf.NotAfter))...)
		return
	}
	m.log(slog.LevelWarn, "certificate not issued: handshakes for its name fail", domain, attrs...)
}

// wait returns after d, and reports false if the manager has been closed.
func (m *Manager) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-m.ctx.Done():
		return false
	}
}

// backoff returns how long to wait at least after a failure that followed on so many others. What the CA has refused
// it will most likely refuse again, and it counts how often it is asked, unless it says itself when it wants to be
// asked; one that cannot be reached may be back soon.
func backoff(err error, failures int, said bool) time.Duration {
	first := 2 * time.Second
	if _, refused := errors.AsType[acme.Problem](err); refused && !said {
		first = time.Minute
	}
	return min(first<<min(failures, 20), longest)
}

// vary makes a wait a tenth longer at most, so that many names are not asked for at the same instant.
func vary(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// adjust makes all names be looked at as often as the certificate wants that lives shortest. certmagic renews
// earlier by as much.
func (m *Manager) adjust() {
	every := slowest
	m.mu.Lock()
	for _, n := range m.names {
		if n.inForce != nil {
			every = min(every, n.inForce.Leaf.NotAfter.Sub(n.inForce.Leaf.NotBefore)/looksInLifetime)
		}
	}
	m.mu.Unlock()
	every = max(every, fastest)
	if m.lookEvery.Swap(int64(every)) != int64(every) {
		m.cache.SetOptions(m.cacheOptions(every))
	}
}

// errorAttr is an error for the log, cut where a CA says very much.
func errorAttr(err error) slog.Attr {
	return slog.String("error", clip(err.Error()))
}
