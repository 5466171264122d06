package http1

import "net"

// Adopt puts a connection into the pool that was made elsewhere, with the backend's consent to speak HTTP/1.1 on it. Its
// first exchange counts as one on a new connection.
func (p *Pool) Adopt(nc net.Conn) {
	c := newConn(nc)
	c.pool, c.fresh = p, true
	p.open.Add(1)
	p.put(c)
}
