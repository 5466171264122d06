package http2

import (
	"slices"

	"pace/proxy/transport"
	"pace/proxy/transport/http2/header"
)

// interims are the interim responses that Do's goroutine has still to pass on. exchange.Mu guards them.
type interims struct {
	queue []interim
	size  int64 // bytes of all so far
	waits int64 // bytes of those in queue
}

// interim is one of them.
type interim struct {
	status int
	fields []transport.Field
	size   int64
}

func (i *interims) begin() { *i = interims{} }

func (i *interims) areThere() bool { return len(i.queue) > 0 }

var (
	errSwitch       = transport.NewFault("a switch of protocols, which HTTP/2 does not have")
	errManyInterims = transport.NewFault("interim responses are too large in sum")
)

// gotInterimLocked notes an interim response. The limit of all is as in http1: as many bytes as sixteen of the largest
// headers have, and one more for each byte of the request that was sent. No more than the former may wait for a client that
// takes none of them. x.Mu is held.
func (x *exchange) gotInterimLocked(b *header.Block) {
	i := &x.interims
	largest := 16 * int64(x.pool.o.MaxHeaderBytes)
	i.size, i.waits = i.size+int64(b.Size), i.waits+int64(b.Size)
	switch {
	case b.Status == 101:
		x.failLocked(transport.Invalid, errSwitch)
	case b.End:
		x.malformedLocked()
	case i.waits > largest, i.size > largest+x.sentBytes():
		x.failLocked(transport.HeaderTooLarge, errManyInterims)
	default:
		i.queue = append(i.queue, interim{b.Status, slices.Clone(b.Fields), int64(b.Size)})
	}
}

// passOnLocked passes the first one on. x.Mu is held, but not while it does.
func (x *exchange) passOnLocked() {
	one := x.interims.queue[0]
	x.interims.queue = x.interims.queue[1:]
	x.interims.waits -= one.size
	x.Mu.Unlock()
	defer x.Mu.Lock()
	if x.req.On1xx != nil {
		x.req.On1xx(one.status, one.fields)
		x.RepeatPhase()
	}
	if one.status == 100 {
		x.upload.goAhead()
	}
}
