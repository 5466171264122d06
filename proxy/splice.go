package proxy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"pace/proxy/pipe"
	"pace/telemetry"
)

// kernelBody is what is left of a response's body, on the backend's connection. It goes through
// net/http's ReadFrom, which keeps its own books, to the client connection's, which has it moved.
type kernelBody struct {
	q    *request
	src  *net.TCPConn
	left int64
	via  *pipe.Pipe
	dst  *net.TCPConn

	moved          int64
	unread, unsent error // which half failed, if one did
}

var errNotSpliced = errors.New("pace: BUG: a body for the kernel was read by hand")

// Read implements io.Reader for the signature of ReadFrom; nobody calls it.
func (*kernelBody) Read([]byte) (int, error) { return 0, errNotSpliced }

// splice moves the rest of the body in the kernel if both sides are plain TCP and it is worth it.
// It reports whether it did; the answer is then over, whole or not.
func (q *request) splice() (done, whole bool) {
	b := q.kernelBody()
	if b == nil {
		return false, false
	}
	defer b.via.Release()
	if !q.flush() { // the header, so that net/http hands over at once
		return true, false
	}
	q.w.(io.ReaderFrom).ReadFrom(b)
	q.rec.BytesOut += b.moved
	err := q.resp.Spliced(b.moved, cmp.Or(b.unread, b.unsent))
	switch {
	case b.unsent != nil:
		q.breakOff(q.undelivered())
	case b.unread != nil:
		q.fallShort(err)
	}
	return true, err == nil
}

// kernelBody returns the rest of the body if the kernel can move it, and else nil.
func (q *request) kernelBody() *kernelBody {
	if !pipe.Supported || q.r.ProtoMajor != 1 || q.rec.Stream != telemetry.NoStream ||
		q.w.Header()["Content-Length"] == nil { // net/http makes chunks of it
		return nil
	}
	src, left := q.resp.Splice(pipe.From)
	if src == nil {
		return nil
	}
	p, err := pipe.Take()
	if err != nil {
		return nil // too many open files: it is copied
	}
	return &kernelBody{q: q, src: src, left: left, via: p}
}

// MoveTo implements [front.Spliced]: it moves all that is left to dst, a pipeful at a time.
func (b *kernelBody) MoveTo(dst *net.TCPConn) (int64, error) {
	b.dst = dst
	defer func() {
		if b.unsent == nil {
			dst.SetWriteDeadline(time.Time{})
		}
	}()
	src, err1 := b.src.SyscallConn()
	out, err2 := dst.SyscallConn()
	if err := errors.Join(err1, err2); err != nil {
		panic("pace: BUG: a connection in use is none: " + err.Error())
	}
	for b.left > 0 && b.fill(src) {
		for b.via.Held() > 0 && b.drain(out) {
		}
		if b.unsent != nil {
			break
		}
	}
	return b.moved, cmp.Or(b.unread, b.unsent)
}

// fill moves what the backend has sent into the pipe.
func (b *kernelBody) fill(src syscall.RawConn) bool {
	b.q.rec.Enter(telemetry.Receive)
	_, err := b.via.Fill(src, b.left)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.unread = err
	return err == nil
}

// drain moves something of what the pipe holds to the client.
func (b *kernelBody) drain(dst syscall.RawConn) bool {
	b.q.rec.Enter(telemetry.Deliver)
	for {
		b.dst.SetWriteDeadline(time.Now().Add(pipe.LookAgain))
		n, err := b.via.Drain(dst)
		b.moved += int64(n)
		b.left -= int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) && !b.q.living.Stalled() {
			continue
		}
		b.unsent = err
		return err == nil
	}
}
