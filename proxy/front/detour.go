package front

import (
	"errors"
	"io"
	"syscall"

	"pace/proxy/front/socket"
	"pace/proxy/pipe"
)

// detour moves a request's body inside the kernel, past net/http, which owns the client's connection and counts
// how much of the body is still to come. A Read of net/http's body into elsewhere reaches our connection with
// the same slice, if nothing is buffered in between. There the kernel moves as many bytes into a pipe as
// elsewhere would have held, and net/http counts them as read. It would be unnecessary if net/http let a handler
// take over the connection for the length of a body.
type detour struct {
	direct bool       // the last Read did not go through net/http's buffer, so that buffer is empty
	into   *pipe.Pipe // of the next Read
	late   grace
}

// elsewhere stands for a pipe. Nobody writes to it, nor reads it (except for the byte that bufio takes for the
// last one), so it costs only address space.
var elsewhere [pipe.Size]byte

// buffered is how many bytes net/http reads ahead; only larger Reads bypass its buffer. If that changes in
// net/http, uploads fail as internal_error, and so does TestLargeUploadsArriveWholeThroughTheKernel.
const buffered = 4 << 10

// read is a Read from c, into the pipe if b is elsewhere. Only one goroutine at a time calls it: net/http
// makes sure of that.
func (d *detour) read(c socket.Conn, b []byte) (int, error) {
	if len(b) == 0 || &b[0] != &elsewhere[0] {
		if len(b) > 1 { // else net/http waits for the client to leave, while the handler runs
			d.direct = len(b) > buffered
		}
		n, err := c.Read(b)
		if n == 0 && err != nil {
			n, err = d.look(c, err, len(b), func(raw syscall.RawConn, limit int) (int, error) { return socket.ReadFrom(raw, b[:limit]) })
		}
		return n, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	n, err := d.into.Fill(raw, int64(len(b)))
	if err != nil {
		n, err = d.look(c, err, len(b), func(raw syscall.RawConn, limit int) (int, error) { return d.into.Fill(raw, int64(limit)) })
	}
	return n, err
}

// look reads what is in c's socket although err says that a deadline has passed.
func (d *detour) look(c socket.Conn, err error, limit int, read func(syscall.RawConn, int) (int, error)) (int, error) {
	raw, closed := c.SyscallConn()
	if closed != nil {
		return 0, err
	}
	return d.late.look(raw, err, limit, read)
}

// Piped reports whether a body of which left bytes are still to come may go through a pipe now, because nothing
// of it is buffered.
func (c *Conn) Piped(left int64) bool { return left > buffered && c.detour.direct }

// ErrBuffered is the error of ReadPipe when bytes went past the pipe.
var ErrBuffered = errors.New("pace: BUG: a body for the kernel was read from a buffer")

// ReadPipe reads the next bytes of body, net/http's body of the present request, into p.
func (c *Conn) ReadPipe(body io.Reader, p *pipe.Pipe, left int64) (int, error) {
	c.detour.into = p
	n, err := body.Read(elsewhere[:min(left, pipe.Size)])
	if p.Held() != n {
		return 0, ErrBuffered
	}
	return n, err
}

// Spliced is a response's body that moves itself to a client's connection.
type Spliced interface {
	io.Reader // for the signature of ReadFrom; nobody reads it
	MoveTo(*Conn) (int64, error)
}

// ReadFrom implements io.ReaderFrom; net/http calls it after the header, and counts what it returns.
func (c *Conn) ReadFrom(r io.Reader) (int64, error) {
	if s, ok := r.(Spliced); ok {
		return s.MoveTo(c)
	}
	return io.Copy(c.Conn, r)
}
