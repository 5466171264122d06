package upstream

import (
	"context"
	"log/slog"
	"time"
)

// MaxPause is the longest pause that a backend can ask for.
const MaxPause = 10 * time.Second

// Pause has b not picked for a while, because its response asked for that. While all backends that may be picked have
// asked for it, none of them has it: a pause alone never makes a request fail. The log gets a line when it begins.
func (u *Upstream) Pause(b *Backend, status int, d time.Duration) {
	if d <= 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	c, until := b.condition, now.Add(min(d, MaxPause))
	paused := c.pausedTo.After(now)
	if until.After(c.pausedTo) {
		c.pausedTo = until
	}
	if paused || b.users.Load() == 0 {
		return // when the pause was to end, it turns out to be longer
	}
	if u.o.Log != nil {
		u.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "backend paused, as its Retry-After asks",
			slog.String("upstream", u.Name), slog.String("backend", b.Addr), slog.Int("status", status), slog.String("for", until.Sub(now).String()))
	}
	u.applyAll(now)
}
