// Package certificate keeps the certificates that pace shows to its clients, finds one by the name that a client
// asks for, and reads them again when their files change. It must not know connections, nor any other package of
// pace.
package certificate

import (
	"crypto/tls"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"
)

// Store has the certificates in force. It is safe for concurrent use.
type Store struct {
	Log *slog.Logger

	set atomic.Pointer[Set]
}

// Use puts a set in force for the handshakes that begin from now on.
func (s *Store) Use(set *Set) { s.set.Store(set) }

// Find returns the certificate for a client: one whose names have the name that the client asks for, and whose
// key the client can use. If there is none, it is the first of all, or nil if strict.
func (s *Store) Find(hello *tls.ClientHelloInfo, strict bool) *tls.Certificate {
	set := s.set.Load()
	if set == nil || len(set.pairs) == 0 {
		return nil
	}
	named := set.named.Load().of(hello.ServerName)
	for _, c := range named {
		if hello.SupportsCertificate(c) == nil {
			return c
		}
	}
	switch {
	case len(named) > 0: // crypto/tls says what is missing
		return named[0]
	case strict:
		return nil
	}
	return set.pairs[0].inForce.Load()
}

// names has the certificates for each name, in the order of the configuration; a wildcard's is "*.example.org".
type names map[string][]*tls.Certificate

// of returns the certificates for a name: those that have it, else those of the wildcard that covers it
// (RFC 6125 §6.4.3: one label).
func (n names) of(name string) []*tls.Certificate {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if exact := n[name]; len(exact) > 0 {
		return exact
	}
	if _, domain, ok := strings.Cut(name, "."); ok {
		return n["*."+domain]
	}
	return nil
}

// State is a certificate at one instant.
type State struct {
	Name     string
	NotAfter time.Time
	Failures int64 // how often its files had changed and could not be used
}

// States returns the state of each certificate, in the order of the configuration.
func (s *Store) States() []State {
	set := s.set.Load()
	if set == nil {
		return nil
	}
	states := make([]State, len(set.pairs))
	for i, p := range set.pairs {
		states[i] = State{p.Name, p.inForce.Load().Leaf.NotAfter, p.failures.Load()}
	}
	return states
}

// InForce returns the set in force; nil: none has been.
func (s *Store) InForce() *Set { return s.set.Load() }
