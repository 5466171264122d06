package proxy

import (
	"net"
	"sync"
)

// streams are the connections that left net/http's care; it would not end them.
type streams struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool // by closeAll
}

// add takes c into care; the returned function lets it go.
func (s *streams) add(c net.Conn) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[net.Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	return func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}
}

// broken says whether closeAll ended the streams.
func (s *streams) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// closeAll ends every stream.
func (s *streams) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	for c := range s.conns {
		c.Close()
	}
}
