package http1

import (
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"time"

	"pace/proxy/transport/dial"
)

// conn is one connection to the backend. At each time it has one owner: an exchange, the pool, or a client's
// [transport.Pin].
type conn struct {
	net.Conn
	tcp    *net.TCPConn     // nil if it is something else
	secure *dial.Secure     // nil if it is not over TLS
	x      *exchange        // that owns it, for writes over TLS; nil: none does
	raw    syscall.RawConn  // nil if it has no file descriptor
	remote netip.AddrPort   // zero if it is not TCP
	peek   func(fd uintptr) // look; made once, for a method value is an allocation
	dead   bool             // set by look: it must not be used
	fresh  bool             // it was adopted, and no exchange has used it
	login  bool             // a login took place on it: it serves one client only, and never returns to the pool
	idle   time.Time        // when it was given back to the pool
	pool   *Pool            // that counts it; nil: nobody does
	over   atomic.Bool      // it is counted no more

	// The deadlines that are set on the connection. They stay set from one exchange to the next, as
	// deadlines.go explains. The exchange that owns the connection sets them under its mu.
	readUntil, writeUntil time.Time
}

func newConn(nc net.Conn) *conn {
	c := &conn{Conn: nc}
	c.tcp, _ = nc.(*net.TCPConn)
	if c.secure, _ = nc.(*dial.Secure); c.secure != nil {
		c.secure.GoOn(c.goesOn)
		nc = c.secure.Under()
	}
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		c.remote = a.AddrPort()
	}
	if s, ok := nc.(syscall.Conn); ok {
		c.raw, _ = s.SyscallConn()
	}
	c.peek = c.look
	return c
}

// Close implements net.Conn. The connection is counted until it is closed, so that no other takes its place before.
func (c *conn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

// leave ends the count of the connection.
func (c *conn) leave() {
	if c.pool != nil && c.over.CompareAndSwap(false, true) {
		c.pool.open.Add(-1)
	}
}

// alive reports whether an idle connection may be used: the backend has sent nothing on it, and has not closed
// it.
func (c *conn) alive() bool {
	if c.secure != nil {
		if quiet, known := c.secure.IsQuiet(); known {
			return quiet
		}
	}
	if c.raw == nil || !canPoll || c.secure != nil {
		// The connection cannot be asked. Many servers keep an idle connection for 5 s (Node does), so we
		// use one for 4 s. If it ends all the same, that is a Reset with Reused set, which may be retried.
		return time.Since(c.idle) < 4*time.Second
	}
	c.dead = true
	return c.raw.Control(c.peek) == nil && !c.dead
}

// readError returns the error that c.Read would return for err.
func (c *conn) readError(err error) error {
	return &net.OpError{Op: "read", Net: "tcp", Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
