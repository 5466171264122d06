package front

import (
	"io"
	"net"
)

// Spliced is a body that moves itself to a client's connection.
type Spliced interface {
	io.Reader // for the signature of ReadFrom; nobody reads it
	MoveTo(*net.TCPConn) (int64, error)
}

// ReadFrom implements io.ReaderFrom; net/http calls it when the header is out, and counts what it returns.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if s, ok := r.(Spliced); ok {
		return s.MoveTo(c.TCPConn)
	}
	return c.TCPConn.ReadFrom(r)
}
