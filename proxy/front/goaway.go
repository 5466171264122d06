package front

import (
	"errors"
	"os"
	"sync"
	"time"

	"pace/proxy/front/h2"
	"pace/proxy/front/socket"
)

// multiplexed are the connections that speak HTTP/2. net/http announces the end to their clients only in
// Shutdown, which drops requests that are being read. So pace announces it first.
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

// goodbye sends GOAWAY on each connection that l accepted. A connection that takes no bytes delays none of the
// others.
func (m *multiplexed) goodbye(l *listener) {
	m.mu.Lock()
	var sending sync.WaitGroup
	for c := range m.conns {
		if c.listener != l {
			continue
		}
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

// goodbye is the longest wait until GOAWAY is sent on all connections.
const goodbye = 100 * time.Millisecond

// writeFrames writes what net/http sends over HTTP/2.
func (c *Conn) writeFrames(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.h2.ReadOutgoing(b[min(c.unsent, len(b)):])
	n, err := c.Conn.Write(b)
	if n == 0 && c.tls == nil && errors.Is(err, os.ErrDeadlineExceeded) { // after pace was stopped, the deadline may be over although there is room
		if raw, closed := c.SyscallConn(); closed == nil {
			n, _ = socket.WriteTo(atOnce{raw}, b)
		}
	}
	if err != nil && (n == 0 || !errors.Is(err, os.ErrDeadlineExceeded)) { // after a deadline net/http tries again if there was progress
		c.lost.Store(true)
	}
	c.unsent = len(b) - n // net/http will send these again, and h2 has read them
	if c.server.InFlight.Draining() || c.listener.retired.Load() {
		c.sayGoodbye()
	}
	return n, err
}

// sayGoodbye sends the notice once, if a frame may begin now; if not, writeFrames calls it again. c.writing is
// held.
func (c *Conn) sayGoodbye() {
	if !c.goneAway && c.unsent == 0 && c.h2.MayWrite() {
		c.goneAway = true
		c.Conn.Write(h2.ShutdownNotice)
	}
}
