package accesslog

import (
	"log/slog"
	"sync"
	"time"
)

// levels are the minimum level to log: the configuration's, or for a while another one.
type levels struct {
	slog.LevelVar // in force

	mu         sync.Mutex // guards what follows
	configured slog.Level
	back       *time.Timer // ends the other one; nil: the configuration's is in force
	turns      int         // how often another one was set, so that a timer that comes too late finds out
}

// set is what the configuration says. It holds at once, unless another level is in force for a while.
func (l *levels) set(level slog.Level) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.configured = level
	if l.back == nil {
		l.LevelVar.Set(level)
	}
}

// SetLevelFor makes level the minimum level to log for a while. Then the level of the configuration that is in
// force at that time holds again, and ended is called, unless SetLevelFor has been called meanwhile.
func (l *Log) SetLevelFor(level slog.Level, d time.Duration, ended func(configured slog.Level)) {
	s := &l.level
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.back != nil {
		s.back.Stop()
	}
	s.turns++
	turn := s.turns
	s.back = time.AfterFunc(d, func() {
		if configured, over := s.end(turn); over {
			ended(configured)
		}
	})
	s.LevelVar.Set(level)
}

// end puts the configuration's level in force, if no later turn has begun.
func (l *levels) end(turn int) (configured slog.Level, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turn {
		return 0, false
	}
	l.back = nil
	l.LevelVar.Set(l.configured)
	return l.configured, true
}
