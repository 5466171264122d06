package http1

import (
	"io"

	"pace/proxy/pipe"
	"pace/proxy/transport"
)

// PipeReader is a Body whose bytes need not be copied into the process. If the body is large and of known length,
// and the backend's connection is plain TCP, the exchange moves it through the kernel.
type PipeReader interface {
	io.Reader

	// Pipes reports whether ReadPipe may be called now, with left bytes of the body to come.
	Pipes(left int64) bool

	// ReadPipe reads as Read does, but into p, which is empty. It reads at least one byte and at most left, or
	// returns an error.
	ReadPipe(p *pipe.Pipe, left int64) (int, error)
}

// pipe returns the arguments for sendPiped if the rest of the body can go through the kernel, else nil.
func (x *exchange) pipe() (PipeReader, *pipe.Pipe) {
	if !pipe.Supported || x.out.left < pipe.From || x.out.isDue() || x.conn().tcp == nil {
		return nil, nil
	}
	b, ok := x.req.Body.(PipeReader)
	if !ok || !b.Pipes(x.out.left) {
		return nil, nil
	}
	p, err := pipe.Take()
	if err != nil {
		return nil, nil // too many open files: the body is copied
	}
	return b, p
}

// sendPiped sends the body as long as b can pipe it. It reports whether the sender may go on with the rest.
func (x *exchange) sendPiped(b PipeReader, p *pipe.Pipe) bool {
	defer p.Release()
	o := &x.out
	o.drop()
	for b.Pipes(o.left) {
		x.Enter(transport.ReadRequest)
		n, err := b.ReadPipe(p, o.left)
		if err == nil || err == io.EOF {
			err = o.countDown(n, err == io.EOF)
		}
		if err != nil {
			x.fail(transport.RequestBody, err)
			return false
		}
		if err := x.drain(p); err != nil {
			x.sendingOver(false)
			return false
		}
	}
	return true
}

// drain writes the bytes in p to the backend.
func (x *exchange) drain(p *pipe.Pipe) error {
	for p.Held() > 0 {
		err := x.writing(pipe.LookAgain, func(c *conn) (int, error) { return p.Drain(c.raw) })
		if err != nil {
			return err
		}
	}
	return nil
}
