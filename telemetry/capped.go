package telemetry

import (
	"sync/atomic"
	"time"
)

// Capped lets one log line a second pass, for lines of which clients could cause any number. The zero value
// works. Safe for concurrent use.
type Capped struct {
	second atomic.Int64 // in which a line passed last
}

// Pass reports whether a line may be written now.
func (c *Capped) Pass() bool {
	now := time.Now().Unix()
	last := c.second.Load()
	return last != now && c.second.CompareAndSwap(last, now)
}
