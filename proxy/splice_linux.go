package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"

	"pace/telemetry"
)

// spliceFrom is the rest of a body from which on it is moved by the kernel: below it, setting up
// costs more than copying.
const spliceFrom = 256 << 10

// kernelBody is what is left of a response's body, on the backend's connection. It goes through
// net/http's ReadFrom, which keeps its own books, to the client connection's, which moves it.
//
// The two halves of the move are two system calls here, not one copy: which one failed is which
// side failed, and which one waits is the phase.
type kernelBody struct {
	q    *request
	src  *net.TCPConn
	left int64

	moved  int64
	failed telemetry.Outcome // Unset: all was moved
	err    error
}

var errNotSpliced = errors.New("pace: BUG: a body for the kernel was read by hand")

// Read implements io.Reader for the signature of ReadFrom; nobody calls it.
func (*kernelBody) Read([]byte) (int, error) { return 0, errNotSpliced }

// splice moves the rest of the body in the kernel if both sides are plain TCP and it is worth it.
// It reports whether it did; the answer is then over, whole or not.
func (q *request) splice() (done, whole bool) {
	if q.r.ProtoMajor != 1 || q.rec.Stream != telemetry.NoStream {
		return false, false
	}
	to, ok := q.w.(io.ReaderFrom)
	src, left := q.resp.Splice()
	if !ok || src == nil || left < spliceFrom {
		return false, false
	}
	if !q.flush() { // the header, so that net/http hands over at once
		return true, false
	}
	b := &kernelBody{q: q, src: src, left: left}
	to.ReadFrom(b)
	q.rec.BytesOut += b.moved
	q.resp.Spliced(b.moved, b.err)
	if b.failed != telemetry.Unset {
		q.breakOff(b.failed)
		return true, false
	}
	return true, true
}

// ReadFrom implements io.ReaderFrom; net/http calls it when the header is out.
func (c *clientConn) ReadFrom(r io.Reader) (int64, error) {
	b, ok := r.(*kernelBody)
	if !ok {
		return c.TCPConn.ReadFrom(r)
	}
	b.move(c.TCPConn)
	return b.moved, b.err
}

// move moves all that is left to dst, a pipeful at a time.
func (b *kernelBody) move(dst *net.TCPConn) {
	p, err := takePipe()
	if err != nil {
		b.fail(telemetry.InternalError, err)
		return
	}
	src, err1 := b.src.SyscallConn()
	out, err2 := dst.SyscallConn()
	if err := errors.Join(err1, err2); err != nil { // neither fails while its connection is in use
		p.close()
		b.fail(telemetry.ClientAborted, err)
		return
	}
	for b.left > 0 && b.failed == telemetry.Unset {
		b.q.rec.Enter(telemetry.Receive)
		n := b.fill(src, p)
		for n > 0 && b.failed == telemetry.Unset {
			b.q.rec.Enter(telemetry.Deliver)
			n -= b.drain(out, p, n)
		}
	}
	if b.failed == telemetry.Unset {
		p.give()
	} else { // there may be bytes in it
		p.close()
	}
}

func (b *kernelBody) fail(o telemetry.Outcome, err error) { b.failed, b.err = o, err }

// fill moves what the backend has sent into the pipe, once there is something.
func (b *kernelBody) fill(src syscall.RawConn, p *pipe) (n int) {
	var failed error
	err := src.Read(func(fd uintptr) bool {
		n, failed = spliceOnce(int(fd), p.w, int(min(b.left, pipeSize)))
		return failed != syscall.EAGAIN
	})
	if err = errors.Join(err, failed); err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		// A client that leaves ends the request's context, and with it the read.
		o := telemetry.UpstreamTruncated
		if b.q.ctx.Err() != nil {
			o = telemetry.ClientAborted
		}
		b.fail(o, err)
		return 0
	}
	return n
}

// drain moves up to n bytes from the pipe to the client.
func (b *kernelBody) drain(dst syscall.RawConn, p *pipe, n int) (done int) {
	var failed error
	err := dst.Write(func(fd uintptr) bool {
		done, failed = spliceOnce(p.r, int(fd), n)
		return failed != syscall.EAGAIN
	})
	if err = errors.Join(err, failed); err != nil {
		b.fail(telemetry.ClientAborted, err)
		return 0
	}
	spliced.Add(int64(done))
	b.moved += int64(done)
	b.left -= int64(done)
	return done
}

// spliced counts the bytes that the kernel moved, for the tests' proof that it did.
var spliced atomic.Int64

const spliceNonblock = 2 // SPLICE_F_NONBLOCK

func spliceOnce(from, to, n int) (int, error) {
	for {
		done, err := syscall.Splice(from, nil, to, nil, n, spliceNonblock)
		if err != syscall.EINTR {
			return int(done), err
		}
	}
}

// pipeSize is what the kernel lets anybody have.
const pipeSize = 1 << 20

// pipe is where bytes stay in the kernel between two connections.
type pipe struct{ r, w int }

// pipes are kept for the next body: making one costs three system calls.
var pipes struct {
	sync.Mutex
	idle []*pipe
}

const mostPipes = 64

func takePipe() (*pipe, error) {
	pipes.Lock()
	if n := len(pipes.idle); n > 0 {
		p := pipes.idle[n-1]
		pipes.idle = pipes.idle[:n-1]
		pipes.Unlock()
		return p, nil
	}
	pipes.Unlock()
	var fds [2]int
	if err := syscall.Pipe2(fds[:], syscall.O_CLOEXEC|syscall.O_NONBLOCK); err != nil {
		return nil, err
	}
	const setPipeSize = 1031 // F_SETPIPE_SZ; one that is refused leaves 64 KiB, which does too
	syscall.Syscall(syscall.SYS_FCNTL, uintptr(fds[1]), setPipeSize, pipeSize)
	return &pipe{fds[0], fds[1]}, nil
}

// give keeps an empty pipe, or closes it.
func (p *pipe) give() {
	pipes.Lock()
	defer pipes.Unlock()
	if len(pipes.idle) < mostPipes {
		pipes.idle = append(pipes.idle, p)
		return
	}
	p.close()
}

func (p *pipe) close() {
	syscall.Close(p.r)
	syscall.Close(p.w)
}
