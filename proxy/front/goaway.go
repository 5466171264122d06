package front

import (
	"errors"
	"os"
	"sync"
	"time"
)

// multiplexed are the connections that speak HTTP/2. net/http tells their clients of the end by
// Shutdown only, which drops requests that are being read; so pace tells them itself.
type multiplexed struct {
	mu    sync.Mutex
	conns map[*Conn]struct{}
}

func (m *multiplexed) add(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.conns == nil {
		m.conns = map[*Conn]struct{}{}
	}
	m.conns[c] = struct{}{}
}

func (m *multiplexed) remove(c *Conn) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.conns, c)
}

// goodbye sends GOAWAY on each connection. One that takes no bytes holds up nobody.
func (m *multiplexed) goodbye() {
	m.mu.Lock()
	var sending sync.WaitGroup
	for c := range m.conns {
		sending.Go(func() {
			c.writing.Lock()
			defer c.writing.Unlock()
			c.sayGoodbye()
		})
	}
	m.mu.Unlock()
	sent := make(chan struct{})
	go func() {
		sending.Wait()
		close(sent)
	}()
	select {
	case <-sent:
	case <-time.After(goodbye):
	}
}

// goodbye is the longest wait for GOAWAY to be sent on all connections.
const goodbye = 100 * time.Millisecond

// shutdownNotice is the GOAWAY with which a server that ends begins (RFC 9113 §6.8): no error, and
// every stream may still be answered. net/http sends another one, with the last stream, at the end.
var shutdownNotice = []byte{
	0, 0, 8, goAwayFrame, 0, 0, 0, 0, 0, // length, type, flags, stream
	0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, // last stream, NO_ERROR
}

// writeFrames writes what net/http sends by HTTP/2.
func (c *Conn) writeFrames(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.h2.wrote(b[min(c.unsent, len(b)):])
	n, err := c.TCPConn.Write(b)
	if n == 0 && errors.Is(err, os.ErrDeadlineExceeded) { // a process that was stopped has not seen that there is room
		if raw, closed := c.SyscallConn(); closed == nil {
			n, _ = writeTo(atOnce{raw}, b)
		}
	}
	if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) { // net/http tries on after a deadline if there was progress
		c.lost.Store(true)
	}
	c.unsent = len(b) - n // what net/http tries again, and h2 has read
	if c.server.InFlight.Draining() {
		c.sayGoodbye()
	}
	return n, err
}

// sayGoodbye sends the notice once, when a frame may begin; if none may now, writeFrames does it later.
// c.writing is held.
func (c *Conn) sayGoodbye() {
	if !c.goneAway && c.unsent == 0 && c.h2.between() {
		c.goneAway = true
		c.TCPConn.Write(shutdownNotice)
	}
}
