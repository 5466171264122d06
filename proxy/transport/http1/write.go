package http1

import (
	"errors"
	"os"
	"time"

	"pace/proxy/transport"
)

// render appends the request's head to what is due.
func (o *outgoing) render(req *transport.Request) {
	b := appendHead(getSmall()[:0], req)
	o.buf, o.to = b[:cap(b)], len(b)
}

// writeThenWait sends the commonest request, one without a body on a pooled connection of plain TCP, and reads
// the first bytes of its response. writeThenRead, which it hands to the connection, has the two system calls.
//
// The obvious order is to write, and then to read. But no response can be there so soon: the read would make a
// system call in vain, before the goroutine waits for the connection. So both happen in one visit to the
// runtime's poller. RawConn.Read calls writeThenRead at once: it writes, and says that there is nothing to
// read. Then RawConn.Read waits until the connection is readable, and calls writeThenRead again, which reads.
// No wake-up is lost: the poller notices everything that comes after it was entered, and writeThenRead looks
// for what came before, such as the connection's end. That look is necessary anyway.
//
// This would be unnecessary if net.Conn could wait until it is readable without a read, or if the read in vain
// did not cost a tenth of the exchange.
func (x *exchange) writeThenWait() error {
	c := x.c
	n, err := x.receive(c, x.polled.first)
	if err != nil && x.out.now() == sent {
		if late, failed := x.lastLook(c, err); late > 0 || failed != nil {
			n, err = late, failed
		}
	}
	switch {
	case x.out.now() != sent:
		return x.writeAfterAll(c)
	case n > 0:
		x.noteRead(n)
		return nil
	case err != nil:
		err = x.readFailed(c, err)
	}
	if err != nil {
		return x.fail(transport.Reset, err)
	}
	return nil // it wrote, and awaitFinal reads on
}

// writeAfterAll sends in the ordinary way what writeThenWait could not write, or only in part. If nothing was
// written, the connection may have ended, and it is then replaced. It may also be alive: the poller then found
// a deadline that had passed.
func (x *exchange) writeAfterAll(c *conn) error {
	if x.out.now() == idle && !c.alive() {
		if err := x.connect(false); err != nil {
			return err
		}
	}
	return x.sendHead()
}

// sendHead sends a request without a body, and starts the time for the response. It returns no error if the
// connection breaks, since a response may have come before.
func (x *exchange) sendHead() error {
	err := x.flush()
	if _, ended := errors.AsType[*transport.Error](err); ended {
		return err
	}
	x.in.buf, x.out.buf = x.out.buf, nil // the same buffer takes the response
	x.in.pos, x.in.end = 0, 0
	x.sendingOver(err == nil)
	return nil
}

// sendingOver notes the end of sending, complete or not, and starts the backend's time to respond.
func (x *exchange) sendingOver(complete bool) {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if complete {
		x.out.become(sent)
	}
	if x.Final || x.Cause != nil {
		return
	}
	x.EnterLocked(transport.Wait)
	x.startClock()
}

// flushed writes what is due for the sender, or for its head timer, and reports whether to go on. If the
// connection broke, the sender stops, and the reader finds out what the backend had said before.
func (x *exchange) flushed() bool {
	x.out.mu.Lock()
	err := x.flush()
	x.out.mu.Unlock()
	x.firstWriteOver()
	if err == nil {
		return true
	}
	x.sendingOver(false)
	return false
}

// firstWriteOver notes that the first write is over, or will never be.
func (x *exchange) firstWriteOver() {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	select {
	case <-x.out.first:
	default:
		if x.out.first != nil {
			close(x.out.first)
		}
	}
}

// flush writes what is due. A pooled connection that takes nothing of a request has ended, and is replaced. A
// [*transport.Error] has ended the exchange; any other error is the connection's.
func (x *exchange) flush() error {
	o := &x.out
	for o.from < o.to {
		n, err := x.write(o.buf[o.from:o.to])
		o.from += n
		if err == nil {
			break
		}
		if _, ended := errors.AsType[*transport.Error](err); ended || !x.isUntouched() {
			return err
		}
		if err := x.connect(false); err != nil {
			return err
		}
	}
	return nil
}

// isUntouched reports whether the connection is a pooled one that has taken no byte of the request.
func (x *exchange) isUntouched() bool {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	return x.reused && x.sent == 0 && x.Cause == nil
}

// write writes all of b.
func (x *exchange) write(b []byte) (written int, err error) {
	err = x.writing(x.responseTimeout(), func(c *conn) (int, error) {
		n, err := c.Write(b[written:])
		written += n
		return n, err
	})
	return written, err
}

// writing calls once, which writes all that is due, and calls it again if only a deadline fired early. Each call
// waits no longer than look. writing gives up after ResponseTimeout without progress. If there was some
// progress in a call, it may take up to twice that time, since a write returns how far it came, but not when.
func (x *exchange) writing(look time.Duration, once func(*conn) (int, error)) error {
	x.Enter(transport.Send)
	x.out.beginWrite()
	c, moved := x.conn(), time.Now()
	for {
		if err := x.armWrite(c, moved, look); err != nil {
			return err
		}
		n, err := once(c)
		x.took(n)
		if err == nil {
			return nil
		}
		if n > 0 || errors.Is(err, os.ErrDeadlineExceeded) && x.stirs(c, moved) {
			moved = time.Now()
		}
		if err := x.writeFailed(moved, err); err != nil {
			return err
		}
	}
}

// took notes that the kernel took n bytes of the request.
func (x *exchange) took(n int) {
	x.Mu.Lock()
	x.sent += int64(n)
	x.Mu.Unlock()
}
