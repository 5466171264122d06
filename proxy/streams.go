package proxy

import (
	"context"
	"net"
	"sync"
)

// streams are the connections that left net/http's care; it would not end them.
type streams struct {
	mu    sync.Mutex
	conns map[net.Conn]struct{}
	ended bool // by closeAll
	done  sync.WaitGroup
}

// add takes c into care; the returned function lets it go.
func (s *streams) add(c net.Conn) (remove func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = map[net.Conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	s.done.Add(1)
	return func() {
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
		s.done.Done()
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

// wait returns nil when every stream has ended, or ctx's error.
func (s *streams) wait(ctx context.Context) error {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.done.Wait()
	}()
	select {
	case <-ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
