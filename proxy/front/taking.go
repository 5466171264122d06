package front

import (
	"errors"
	"os"
	"sync/atomic"
	"time"

	"pace/proxy/front/socket"
)

// taking is a client's connection over HTTP/2, below TLS if there is any. A Write lasts for as long as the client
// takes something of it again and again, and fails when it has taken nothing for the limit. net/http has such a limit,
// too (WriteByteTimeout), but it sets one deadline for all who write, and above TLS: crypto/tls cannot go on after a
// deadline, and the kernel does not wake a writer before a good part of its buffer is free.
//
// Without a limit the client has all the time it likes, until one of the exchanges on the connection must end: net/http
// cannot wake its handler while a Write waits. See hurry.
type taking struct {
	socket.Conn
	on      bool          // HTTP/2 is spoken. The goroutine that reads sets it with the preface, before net/http writes.
	limit   time.Duration // 0: none; set with on
	hurried atomic.Bool   // the next deadline is that of hurry
	end     atomic.Int64  // deadline of every Write, in nanoseconds since 1970, which crypto/tls sets before it closes; 0: none
}

// hurryLimit is how long a client may take nothing, if it otherwise may for ever.
const hurryLimit = 5 * time.Second

// steps is how many times within a limit a Write that waits looks whether the client has taken something.
const steps = 8

// Write implements net.Conn.
func (c *taking) Write(b []byte) (n int, err error) {
	if !c.on {
		return c.Conn.Write(b)
	}
	limit, since := c.limit, time.Now() // the client has taken something, or had nothing to take
	if limit > 0 {
		c.Conn.SetWriteDeadline(c.next(limit))
	}
	for {
		took, err := c.Conn.Write(b[n:])
		n += took
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.rest(limit)
			return n, err
		}
		if took == 0 { // there may be room that the kernel has not reported, or pace was stopped
			took = c.writeAtOnce(b[n:])
			n += took
		}
		if limit == 0 { // hurry was called, perhaps some time before this Write
			limit = hurryLimit
			c.hurried.Store(false)
		}
		switch {
		case n == len(b):
			c.rest(limit)
			return n, nil
		case took > 0:
			since = time.Now()
		case time.Since(since) >= limit || c.closing():
			return n, err
		}
		c.Conn.SetWriteDeadline(c.next(limit))
	}
}

// rest notes that no Write waits any more, so that the limit of hurry ends.
func (c *taking) rest(limit time.Duration) {
	if limit > c.limit {
		c.Conn.SetWriteDeadline(time.Time{})
		c.hurried.Store(false)
	}
}

// next returns when to look again.
func (c *taking) next(limit time.Duration) time.Time {
	t := time.Now().Add(limit / steps)
	if end := c.end.Load(); end != 0 && end < t.UnixNano() {
		return time.Unix(0, end)
	}
	return t
}

// closing reports whether the deadline of every Write is over.
func (c *taking) closing() bool {
	end := c.end.Load()
	return end != 0 && end <= time.Now().UnixNano()
}

// hurry ends a Write of which the client has taken nothing for hurryLimit, if there is no other limit.
func (c *taking) hurry() {
	if c.on && c.limit == 0 && !c.hurried.Swap(true) {
		c.Conn.SetWriteDeadline(time.Now().Add(hurryLimit / steps))
	}
}

// writeAtOnce writes what there is room for.
func (c *taking) writeAtOnce(b []byte) int {
	raw, closed := c.SyscallConn()
	if closed != nil {
		return 0
	}
	n, _ := socket.WriteTo(atOnce{raw}, b)
	return n
}

// SetWriteDeadline implements net.Conn.
func (c *taking) SetWriteDeadline(t time.Time) error {
	if c.on && !t.IsZero() {
		c.end.Store(t.UnixNano())
	}
	return c.Conn.SetWriteDeadline(t)
}
