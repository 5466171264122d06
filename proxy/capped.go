package proxy

import (
	"sync/atomic"
	"time"
)

// capped lets one a second pass, of lines in the log that others could make come in any number.
// The zero value is ready; safe for concurrent use.
type capped struct {
	second atomic.Int64 // of the last that passed
}

func (c *capped) pass() bool {
	now := time.Now().Unix()
	last := c.second.Load()
	return last != now && c.second.CompareAndSwap(last, now)
}
