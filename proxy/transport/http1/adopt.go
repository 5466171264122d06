package http1

import (
	"net"
	"time"
)

// Adopt puts a connection into the pool that was made elsewhere, with the backend's consent to speak HTTP/1.1 on it. Its
// first exchange counts as one on a new connection.
func (p *Pool) Adopt(nc net.Conn) {
	c := newConn(nc)
	c.pool, c.fresh = p, true
	p.open.Add(1)
	p.put(c)
}

// isNew reports whether c was adopted a moment ago. Like each new connection, it is used without a look whether it is
// alive: a backend that refuses pace's certificate has perhaps closed it already, and would only get another one.
func (c *conn) isNew() bool { return c.fresh && time.Since(c.idle) < time.Second }
