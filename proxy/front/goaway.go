package front

import (
	"sync"
	"time"

	"pace/proxy/front/h2"
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

// sayGoodbye sends the notice once, if a frame may begin now; if not, writeFrames calls it again. c.writing is
// held.
func (c *Conn) sayGoodbye() {
	if !c.goneAway && c.broken == nil && c.h2.MayWrite() {
		c.goneAway = true
		c.sendHeld()
		c.writeNow(h2.ShutdownNotice)
	}
}
