package body

import (
	"pace/proxy/front"
	"pace/proxy/pipe"
)

// Pipes implements [http1.PipeReader].
func (b *Body) Pipes(left int64) bool {
	return b.http1 && b.length >= 0 && b.kept == nil && b.client.Piped(left)
}

// ReadPipe implements [http1.PipeReader].
func (b *Body) ReadPipe(p *pipe.Pipe, left int64) (int, error) {
	b.await()
	n, err := b.client.ReadPipe(b.src, p, left)
	if err == front.ErrBuffered {
		b.note(Bug)
		return 0, err
	}
	return b.account(n, err)
}
