package front

import (
	"errors"
	"io"
	"net"
	"syscall"

	"pace/proxy/pipe"
)

// detour leads a request's body past net/http, which owns the client's connection and keeps the
// books of how much of the body is due. A Read of its body into elsewhere comes through to our
// connection as it is, if nothing is buffered in between; there, the kernel moves as many bytes into
// a pipe as elsewhere would have held, and net/http counts them as read.
type detour struct {
	direct bool       // the last Read did not go through net/http's buffer, so that is empty
	into   *pipe.Pipe // of the Read to come
	late   grace
}

// elsewhere stands for a pipe. Nobody writes to it, nor reads it (but for bufio the byte that it
// takes for the last one), so it costs address space only.
var elsewhere [pipe.Size]byte

// buffered is how many bytes net/http reads ahead; only larger Reads pass its buffer. Should that
// change, uploads fail as internal_error, and TestLargeUploadsArriveWholeThroughTheKernel with them.
const buffered = 4 << 10

// read is a Read from c, into the pipe if b is elsewhere. One goroutine at a time calls it: net/http
// sees to that.
func (d *detour) read(c *net.TCPConn, b []byte) (int, error) {
	if len(b) == 0 || &b[0] != &elsewhere[0] {
		if len(b) > 1 { // else net/http listens beside the handler
			d.direct = len(b) > buffered
		}
		n, err := c.Read(b)
		if n == 0 && err != nil {
			n, err = d.look(c, err, len(b), func(raw syscall.RawConn, most int) (int, error) { return readFrom(raw, b[:most]) })
		}
		return n, err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	n, err := d.into.Fill(raw, int64(len(b)))
	if err != nil {
		n, err = d.look(c, err, len(b), func(raw syscall.RawConn, most int) (int, error) { return d.into.Fill(raw, int64(most)) })
	}
	return n, err
}

// look reads what lies in c's socket although a deadline has passed, which err says.
func (d *detour) look(c *net.TCPConn, err error, most int, read func(syscall.RawConn, int) (int, error)) (int, error) {
	raw, closed := c.SyscallConn()
	if closed != nil {
		return 0, err
	}
	return d.late.look(raw, err, most, read)
}

// Piped reports whether a body of which so much is left to come may go through a pipe now: nothing of it is
// buffered.
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
