package front

import "time"

// held are the bytes that net/http has sent over HTTP/2 and that wait for what follows at once (see
// [h2.Conn.ExpectMore]), so that a header, a body and a trailer go out in one write and, over TLS, in one record.
//
// A handler that has said that more follows may be stopped all the same, by a client whose flow-control window is
// empty. So nothing waits for longer than [Server.patience].
type held struct {
	heldBytes
	late *time.Timer // nil: nothing was ever held
}

// usualPatience is many times what it takes to write a small response. The response to a client whose window is empty
// begins so much later.
const usualPatience = time.Millisecond

// ExpectMore notes that the handler of a stream writes on without waiting for anything, until it calls SendNow or
// ends.
func (c *Conn) ExpectMore(stream uint32) { c.h2.ExpectMore(stream) }

// ExpectNoMore notes that what the handler has written is to go out, and what it writes from now on.
func (c *Conn) ExpectNoMore(stream uint32) { c.h2.ExpectNoMore(stream) }

// SendHeld sends what waits, unless more follows of another stream. Whoever writes at this moment sends it, too; to
// wait for that could take as long as the client likes.
func (c *Conn) SendHeld() {
	if !c.writing.TryLock() {
		return
	}
	defer c.writing.Unlock()
	if !c.h2.MoreFollows() {
		c.sendHeld()
	}
}

// writeFrames writes what net/http sends over HTTP/2, or holds it. [Conn.SendHeld] may have come while b was about to
// be held, and has left it to whoever was writing.
func (c *Conn) writeFrames(b []byte) (int, error) {
	n, held, err := c.writeOrHold(b)
	if held && !c.h2.MoreFollows() {
		c.SendHeld()
	}
	return n, err
}

// writeOrHold reports how much of b is written or held, and whether it is held.
func (c *Conn) writeOrHold(b []byte) (n int, held bool, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if c.broken != nil {
		return 0, false, c.broken
	}
	if c.h2.Flooded() {
		n, err = c.sayCalm(b)
		return n, false, err
	}
	c.h2.ReadOutgoing(b)
	leaving := c.server.InFlight.Draining() || c.listener.retired.Load()
	if !leaving && c.hold(b) {
		return len(b), true, nil
	}
	n, err = c.writeAfterHeld(b)
	if leaving {
		c.sayGoodbye()
	}
	return n, false, err
}

// hold keeps b if more follows at once, and reports whether it does. c.writing is held.
func (c *Conn) hold(b []byte) bool {
	first := c.held.isEmpty()
	if !c.h2.MoreFollows() || !c.held.hold(b) {
		return false
	}
	switch {
	case !first:
	case c.held.late == nil:
		c.held.late = time.AfterFunc(c.server.patience, c.heldTooLong)
	default:
		c.held.late.Reset(c.server.patience)
	}
	return true
}

// heldTooLong sends what waits although nothing has followed. The timer runs on when its bytes have gone out, so
// others may wait by now.
func (c *Conn) heldTooLong() {
	defer c.Survive()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.h2.ExpectNothing()
	c.sendHeld()
}

// sendHeld sends what waits. c.writing is held.
func (c *Conn) sendHeld() {
	if !c.held.isEmpty() {
		c.held.writeWith(nil, c.writeNow)
	}
}

// writeAfterHeld writes b after what waits, together if that fits. c.writing is held.
func (c *Conn) writeAfterHeld(b []byte) (int, error) { return c.held.writeWith(b, c.writeNow) }

// writeNow writes b. If it does not go out whole, the client gets nothing more, and the connection ends, so that
// whoever reads from it or waits for it learns of it. c.writing is held.
func (c *Conn) writeNow(b []byte) (n int, err error) {
	if c.broken != nil {
		return 0, c.broken
	}
	if c.tls != nil {
		n, err = c.tls.Write(b)
	} else {
		n, err = c.taking.Write(b)
	}
	c.h2.ReadTaken(b[:n])
	if err != nil {
		c.broken = err
		c.lost.Store(true)
		c.under().Close()
	}
	return n, err
}
