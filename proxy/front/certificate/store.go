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

	set    atomic.Pointer[Set]
	issued atomic.Pointer[issued]
}

// Issued is a certificate with one name that comes from a certificate authority, and not from files.
type Issued struct {
	Name        string
	Certificate *tls.Certificate
}

// issued are all of them, and found by name.
type issued struct {
	list  []Issued
	named names
}

// UseIssued puts certificates in force beside those of the set. Of two with the same name, the set's is shown.
func (s *Store) UseIssued(list []Issued) {
	next := &issued{list, names{}}
	for _, one := range list {
		next.named[one.Name] = append(next.named[one.Name], one.Certificate)
	}
	s.issued.Store(next)
}

func (s *Store) allIssued() issued {
	if all := s.issued.Load(); all != nil {
		return *all
	}
	return issued{}
}

// Use puts a set in force for the handshakes that begin from now on.
func (s *Store) Use(set *Set) { s.set.Store(set) }

// Find returns the certificate for a client: one whose names have the name that the client asks for, and whose
// key the client can use. If there is none, it is the first of all, or nil if strict.
func (s *Store) Find(hello *tls.ClientHelloInfo, strict bool) *tls.Certificate {
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	var files names
	if set := s.set.Load(); set != nil {
		files = *set.named.Load()
	}
	named := files[name]
	if len(named) == 0 {
		named = s.allIssued().named[name]
	}
	if len(named) == 0 {
		named = files.wildcard(name)
	}
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
	return s.first()
}

// first returns the first certificate of all; nil: there is none.
func (s *Store) first() *tls.Certificate {
	if set := s.set.Load(); set != nil && len(set.pairs) > 0 {
		return set.pairs[0].inForce.Load()
	}
	if all := s.allIssued(); len(all.list) > 0 {
		return all.list[0].Certificate
	}
	return nil
}

// Empty reports whether no certificate is in force.
func (s *Store) Empty() bool { return s.first() == nil }

// names has the certificates for each name, in the order of the configuration; a wildcard's is "*.example.org".
type names map[string][]*tls.Certificate

// wildcard returns the certificates of the wildcard that covers a name (RFC 6125 §6.4.3: one label).
func (n names) wildcard(name string) []*tls.Certificate {
	if _, domain, ok := strings.Cut(name, "."); ok {
		return n["*."+domain]
	}
	return nil
}

// State is a certificate at one instant.
type State struct {
	Name     string
	NotAfter time.Time
	FromFile bool
	Failures int64 // how often its files had changed and could not be used
}

// States returns the state of each certificate, in the order of the configuration.
func (s *Store) States() (states []State) {
	if set := s.set.Load(); set != nil {
		for _, p := range set.pairs {
			states = append(states, State{p.Name, p.inForce.Load().Leaf.NotAfter, true, p.failures.Load()})
		}
	}
	for _, one := range s.allIssued().list {
		states = append(states, State{Name: one.Name, NotAfter: one.Certificate.Leaf.NotAfter})
	}
	return states
}

// InForce returns the set in force; nil: none has been.
func (s *Store) InForce() *Set { return s.set.Load() }
