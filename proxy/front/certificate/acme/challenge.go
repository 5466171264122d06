package acme

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"sync"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
)

// challenges are those that the CA may ask about now. The zero value is ready. Safe for concurrent use.
type challenges struct {
	mu           sync.RWMutex
	responses    map[string]string           // of HTTP-01, by token; guarded by mu
	certificates map[string]*tls.Certificate // of TLS-ALPN-01, by name; guarded by mu
}

func (c *challenges) response(token string) string {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.responses[token]
}

func (c *challenges) certificate(name string) *tls.Certificate {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.certificates[strings.ToLower(name)]
}

// solver has the listeners answer the challenges of an order.
type solver struct {
	*challenges
	log *slog.Logger
}

// Present implements acmez.Solver.
func (s solver) Present(ctx context.Context, c acme.Challenge) error {
	s.log.LogAttrs(ctx, slog.LevelDebug, "challenge of the certificate authority",
		slog.String("certificate", c.Identifier.Value), slog.String("type", c.Type))
	if c.Type == acme.ChallengeTypeHTTP01 {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.responses == nil {
			s.responses = map[string]string{}
		}
		s.responses[c.Token] = c.KeyAuthorization
		return nil
	}
	made, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificates == nil {
		s.certificates = map[string]*tls.Certificate{}
	}
	s.certificates[strings.ToLower(c.Identifier.Value)] = made
	return nil
}

// CleanUp implements acmez.Solver.
func (s solver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Type == acme.ChallengeTypeHTTP01 {
		delete(s.responses, c.Token)
	} else {
		delete(s.certificates, strings.ToLower(c.Identifier.Value))
	}
	return nil
}
