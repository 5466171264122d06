package front

import (
	"slices"
	"sync"
)

// served are the listeners of one kind that are being served. The zero value is ready. Safe for concurrent use.
type served[L any] struct {
	mu   sync.Mutex
	list []L  // guarded by mu
	over bool // no more may come; guarded by mu
}

// add reports whether l may be served.
func (s *served[L]) add(l L) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.list = append(s.list, l)
	}
	return !s.over
}

// all returns the listeners.
func (s *served[L]) all() []L {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.list)
}

// stop lets no listener come any more, and returns those that there are.
func (s *served[L]) stop() []L {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	return s.all()
}
