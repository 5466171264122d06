package proxy

import (
	"cmp"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/pipe"
	"pace/proxy/transport"
	"pace/telemetry"
)

// ending is how a response's body came to its end; the zero value is that all of it went out.
type ending struct {
	unread error           // the backend aborted it, or it could not be read any more
	unsent bool            // the client took no more of it
	in     telemetry.Phase // when it was not whole
}

func (e ending) whole() bool { return e.unread == nil && !e.unsent }

// notRead is the end of a body that the backend aborted, or that could not be read any more.
func notRead(rec *telemetry.Record, err error) ending { return ending{unread: err, in: rec.Phase()} }

// notSent is the end of a body of which the client took no more.
func notSent(rec *telemetry.Record) ending { return ending{unsent: true, in: rec.Phase()} }

// deliver sends the body piece by piece, straight from the buffer that it was read into. It flushes whenever
// the next piece has not arrived yet. What is left of a large body goes through the kernel.
func (q *request) deliver() ending {
	q.h.at(inStream)
	for {
		if !q.resp.Buffered() {
			if b := q.restForKernel(); b != nil {
				if e := q.splice(b); !e.whole() {
					return e
				}
			} else {
				if err := q.client.flush(); err != nil {
					return notSent(q.rec)
				}
				q.rec.Enter(telemetry.Receive)
			}
		}
		if end, over := q.deliverPiece(); over {
			return end
		}
	}
}

// deliverPiece reads a piece of the body and sends it. over: the body has ended so, and there is no more.
func (q *request) deliverPiece() (end ending, over bool) {
	piece, err := q.resp.Next()
	if err == io.EOF {
		q.rec.Enter(telemetry.Own)
		return ending{}, true
	}
	if err != nil {
		return notRead(q.rec, err), true
	}
	q.rec.Enter(telemetry.Deliver)
	if _, err := q.client.Write(piece); err != nil {
		return notSent(q.rec), true
	}
	return ending{}, false
}

// deliverTrailer sends the trailer after a whole body, and reports what only then shows of the client. h is
// the header that went out, in which net/http looks for the trailer. Fields that were not announced are sent,
// too, but none that are pace's own or belong into the header.
func (q *request) deliverTrailer(h http.Header) ending {
	if q.body != nil && !q.body.Whole() { // the client need not wait until we have let go of its body
		if err := q.client.flush(); err != nil {
			return notSent(q.rec)
		}
	}
	switch {
	case q.living.Stalled(): // already of an interim response; net/http swallowed the error
		return ending{unsent: true, in: telemetry.Deliver}
	case q.conn.GivenUp():
		return notSent(q.rec)
	case len(q.resp.Trailer) == 0:
		return ending{}
	}
	own := []string{"Via", message.RequestIDField, q.plan.BackendName, q.plan.TraceName}
	for _, f := range q.resp.Trailer {
		if !message.HopByHop(f.Name) && !message.TooLate(f.Name) && !slices.Contains(own, f.Name) && !q.route.responses.Removes(f.Name) {
			h.Add(http.TrailerPrefix+f.Name, f.Value)
		}
	}
	if err := q.client.pass(); err != nil { // else net/http would announce a short response's length, and send no trailer
		return notSent(q.rec)
	}
	return ending{}
}

// kernelBody is what is left of a response's body, on the backend's connection. It goes through
// net/http's ReadFrom, which keeps its own books, to the client connection's, which has it moved.
type kernelBody struct {
	q    *request
	src  *net.TCPConn
	left int64
	via  *pipe.Pipe
	dst  *front.Conn

	moved          int64
	unread, unsent error // which half failed, if one did
}

var errNotSpliced = errors.New("pace: BUG: a body for the kernel was read by hand")

// Read implements io.Reader for the signature of ReadFrom; nobody calls it.
func (*kernelBody) Read([]byte) (int, error) { return 0, errNotSpliced }

// splice moves the rest of a body in the kernel.
func (q *request) splice(b *kernelBody) ending {
	defer b.via.Release()
	if err := q.client.flush(); err != nil { // the header, so that net/http hands over at once
		return notSent(q.rec)
	}
	q.client.splice(b)
	err := q.resp.Spliced(b.moved, cmp.Or(b.unread, b.unsent))
	switch {
	case b.unsent != nil:
		return notSent(q.rec)
	case err != nil:
		return notRead(q.rec, err)
	}
	return ending{}
}

// restForKernel returns the rest of the body if both sides are plain TCP and it is worth moving it in the
// kernel, and else nil.
func (q *request) restForKernel() *kernelBody {
	if !pipe.Supported || q.conn.Encrypted() || q.r.ProtoMajor != 1 || q.rec.Stream != telemetry.NoStream ||
		q.client.Header()["Content-Length"] == nil { // net/http makes chunks of it
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
func (b *kernelBody) MoveTo(dst *front.Conn) (int64, error) {
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
	_, err := b.fillInTime(src)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.unread = err
	return err == nil
}

// fillInTime gives the backend no more than the body's timeout. It looks once more after that: the process may
// have been stopped while the bytes came.
func (b *kernelBody) fillInTime(src syscall.RawConn) (int, error) {
	limit := b.q.resp.BodyTimeout
	if limit == 0 {
		return b.via.Fill(src, b.left)
	}
	if b.src.SetReadDeadline(time.Now().Add(limit)); b.q.ctx.Err() != nil {
		b.src.SetReadDeadline(front.LongAgo) // as the transport did when the context ended, perhaps just before
	}
	n, err := b.via.Fill(src, b.left)
	if errors.Is(err, os.ErrDeadlineExceeded) && b.q.ctx.Err() == nil {
		b.src.SetReadDeadline(time.Now().Add(pipe.LookAgain))
		if n, err = b.via.Fill(src, b.left); errors.Is(err, os.ErrDeadlineExceeded) {
			err = transport.ErrStalled
		}
	}
	return n, err
}

// drain moves something of what the pipe holds to the client.
func (b *kernelBody) drain(dst syscall.RawConn) bool {
	b.q.rec.Enter(telemetry.Deliver)
	for {
		b.dst.SetWriteDeadline(time.Now().Add(pipe.LookAgain))
		n, err := b.via.Drain(dst)
		b.moved += int64(n)
		b.left -= int64(n)
		if errors.Is(err, os.ErrDeadlineExceeded) && !b.q.living.Stalled() && !expired(b.q.ctx) {
			continue
		}
		b.unsent = err
		return err == nil
	}
}
