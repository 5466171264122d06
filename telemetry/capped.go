package telemetry

import (
	"sync/atomic"
	"time"
)

// Capped lets one a second pass, of lines in the log that others could make come in any number.
// The zero value is ready; safe for concurrent use.
type Capped struct {
	second atomic.Int64 // of the last that passed
}

// Pass reports whether a line may be written now.
func (c *Capped) Pass() bool {
	now := time.Now().Unix()
	last := c.second.Load()
	return last != now && c.second.CompareAndSwap(last, now)
}
