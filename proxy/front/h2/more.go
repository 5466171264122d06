package h2

import "slices"

// net/http sends a header as soon as a handler's response begins, and the body in another write, even if the handler
// has both in hand. So a handler says while it writes on without waiting for anything. What net/http sends of its
// stream meanwhile may wait for what follows.
//
//	        ExpectMore          a frame goes out            the end of the stream, or ExpectNoMore
//	(none) ───────────▶ expected ───────────────▶ awaited ───────────────────────────────────────▶ (none)

// expected is a stream of which more follows at once.
type expected struct {
	id      uint32
	awaited bool // a frame of it has gone out
}

// maxExpected limits how many streams are remembered. A stream that its client has reset in the wrong moment would
// be remembered for ever.
const maxExpected = 64

// ExpectMore notes that a handler writes on until it calls ExpectNoMore or its stream ends.
func (c *Conn) ExpectMore(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.expected) >= maxExpected {
		c.expected = c.expected[:0]
	}
	c.expected = append(c.expected, expected{id: id})
}

// ExpectNoMore notes that a handler wants what it has written to go out.
func (c *Conn) ExpectNoMore(id uint32) {
	c.floods.earnOnce()
	c.expectNoMore(id)
}

func (c *Conn) expectNoMore(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(id)
}

// ExpectNothing does the same for all streams.
func (c *Conn) ExpectNothing() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expected = c.expected[:0]
}

// MoreFollows reports whether something went out that more follows at once.
func (c *Conn) MoreFollows() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.ContainsFunc(c.expected, func(e expected) bool { return e.awaited })
}

// sentOf notes that a frame of a stream went out. ends: it is the last.
func (c *Conn) sentOf(id uint32, ends bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ends {
		c.forget(id)
	} else if i := c.indexOf(id); i >= 0 {
		c.expected[i].awaited = true
	}
}

// forget ends the wait for more of a stream. c.mu is held.
func (c *Conn) forget(id uint32) {
	if i := c.indexOf(id); i >= 0 {
		c.expected = slices.Delete(c.expected, i, i+1)
	}
}

func (c *Conn) indexOf(id uint32) int {
	return slices.IndexFunc(c.expected, func(e expected) bool { return e.id == id })
}
