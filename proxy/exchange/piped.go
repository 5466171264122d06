package exchange

import (
	"io"
	"time"

	"pace/proxy/pipe"
)

// PipeReader is a Body whose bytes need not come into the process. The exchange then moves a large
// one, of known length and over plain TCP, through the kernel.
type PipeReader interface {
	io.Reader

	// Pipes reports whether ReadPipe may be called now, when left bytes are to come.
	Pipes(left int64) bool

	// ReadPipe reads as Read does, but into p, which is empty: at least one byte and at most left,
	// or an error.
	ReadPipe(p *pipe.Pipe, left int64) (int, error)
}

// pipeFrom is the rest of a body from which on it is worth a pipe.
const pipeFrom = 1 << 20

// pipe returns what sendPiped needs if the rest of the body can go through the kernel.
func (x *exchange) pipe() (PipeReader, *pipe.Pipe) {
	if !pipe.Supported || x.out.left < pipeFrom || x.out.isDue() || x.conn().tcp == nil {
		return nil, nil
	}
	b, ok := x.req.Body.(PipeReader)
	if !ok || !b.Pipes(x.out.left) {
		return nil, nil
	}
	p, err := pipe.Take()
	if err != nil {
		return nil, nil // too many open files: it goes the ordinary way
	}
	return b, p
}

// sendPiped sends the rest of the body, but for what b does not pipe. It reports whether to go on.
func (x *exchange) sendPiped(b PipeReader, p *pipe.Pipe) bool {
	defer p.Release()
	o := &x.out
	o.drop()
	for b.Pipes(o.left) {
		x.enter(ReadRequest)
		n, err := b.ReadPipe(p, o.left)
		if err == nil || err == io.EOF {
			err = o.countDown(n, err == io.EOF)
		}
		if err != nil {
			x.fail(RequestBody, err)
			return false
		}
		o.last.Store(o.ended)
		if err := x.drain(p); err != nil {
			x.sentAll(false)
			return false
		}
	}
	return true
}

// drain writes what p holds.
func (x *exchange) drain(p *pipe.Pipe) error {
	for p.Held() > 0 {
		err := x.writing(func(c *conn) (int, error) {
			x.lookAgain(c)
			return p.Drain(c.raw)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lookAgain bounds a wait for c to be writable, after which it is tried again (pipe.LookAgain).
func (x *exchange) lookAgain(c *conn) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil && !x.closing {
		c.writeUntil = time.Now().Add(pipe.LookAgain)
		c.SetWriteDeadline(c.writeUntil)
	}
}
