package proxy

import (
	"errors"
	"io"
	"net"
	"syscall"

	"pace/proxy/pipe"
	"pace/telemetry"
)

// spliceFrom is the rest of a response's body from which on the kernel moves it. Of 1 MiB, copying
// costs the same, and more such bodies a second get through: what has just been copied is read faster.
const spliceFrom = 1 << 20

// kernelBody is what is left of a response's body, on the backend's connection. It goes through
// net/http's ReadFrom, which keeps its own books, to the client connection's, which moves it.
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
	if !pipe.Supported || q.r.ProtoMajor != 1 || q.rec.Stream != telemetry.NoStream {
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
	p, err := pipe.Take()
	if err != nil {
		b.fail(telemetry.InternalError, err)
		return
	}
	defer p.Release()
	src, err1 := b.src.SyscallConn()
	out, err2 := dst.SyscallConn()
	if err := errors.Join(err1, err2); err != nil { // neither fails while its connection is in use
		b.fail(telemetry.ClientAborted, err)
		return
	}
	for b.left > 0 && b.failed == telemetry.Unset {
		b.q.rec.Enter(telemetry.Receive)
		if !b.fill(src, p) {
			return
		}
		b.q.rec.Enter(telemetry.Deliver)
		b.drain(out, p)
	}
}

func (b *kernelBody) fail(o telemetry.Outcome, err error) { b.failed, b.err = o, err }

// fill moves what the backend has sent into the pipe.
func (b *kernelBody) fill(src syscall.RawConn, p *pipe.Pipe) bool {
	_, err := p.Fill(src, b.left)
	if err == nil {
		return true
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	// A client that leaves ends the request's context, and with it the read.
	o := telemetry.UpstreamTruncated
	if b.q.ctx.Err() != nil {
		o = telemetry.ClientAborted
	}
	b.fail(o, err)
	return false
}

// drain moves what the pipe holds to the client.
func (b *kernelBody) drain(dst syscall.RawConn, p *pipe.Pipe) {
	n, err := p.Drain(dst)
	b.moved += int64(n)
	b.left -= int64(n)
	if err != nil {
		b.fail(telemetry.ClientAborted, err)
	}
}
