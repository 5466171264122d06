package upstream

import (
	"sync"
	"time"
)

// streams are those that are open at one address. They have until a time to end by themselves once the backend is
// drained; what is left then is ended.
//
//	kept ── drain ──▶ patient ── the time is up ──▶ over: each stream is ended, also those that open from now on
//	  ▲                  │                            │
//	  └──────────────────┴────────── undrain ─────────┘
type streams struct {
	mu     sync.Mutex // guards what follows; held while a stream is ended, so that it does not end by itself meanwhile
	open   map[*stream]struct{}
	over   bool
	timer  *time.Timer // nil: kept
	drains int         // so far; tells a timer that was stopped too late from the present one
}

// stream is one of them.
type stream struct{ end func() }

// OpenStream notes that a stream is open at b, until closed is called. If b is drained, and the time is up that
// streams get, end is called: it must end the stream, and neither wait for it nor call closed.
func (b *Backend) OpenStream(end func()) (closed func()) {
	s, one := &b.condition.streams, &stream{end}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = map[*stream]struct{}{}
	}
	s.open[one] = struct{}{}
	if s.over {
		end()
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.open, one)
	}
}

// drain gives the streams a time to end; 0: any time. A time that runs already goes on.
func (s *streams) drain(within time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil || within == 0 {
		return
	}
	s.drains++
	n := s.drains
	s.timer = time.AfterFunc(within, func() { s.expire(n) })
}

// expire ends the streams of the n-th drain.
func (s *streams) expire(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drains != n || s.timer == nil {
		return
	}
	s.over = true
	for one := range s.open {
		one.end()
	}
}

// undrain ends what drain began.
func (s *streams) undrain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
	s.timer, s.over = nil, false
}
