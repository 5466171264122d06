package http2

import (
	"fmt"
	"net/http/httptrace"
	"net/textproto"
	"runtime/debug"
	"sync"

	"pace/proxy/transport"
)

// catch ends the exchange if a callback panics on a goroutine of net/http's.
func (x *exchange) catch() {
	if p := recover(); p != nil {
		x.fail(transport.Panicked, fmt.Errorf("%v\n%s", p, debug.Stack()))
	}
}

// wroteHeader runs right after the header was written, or could not be, while no other can be.
func (x *exchange) wroteHeader() {
	if c := x.noteHeader(); c != nil {
		c.sendUnlessMore()
	}
}

// noteHeader notes that the header was written. It returns the connection, unless the exchange is over.
func (x *exchange) noteHeader() *conn {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.headerOut = true
	x.wrote.Broadcast()
	if x.over || x.c == nil {
		return nil
	}
	x.c.took(x, x.upload.isThereLocked())
	return x.c
}

// wroteRequest runs when all of the request was written, or no more of it will be.
func (x *exchange) wroteRequest(info httptrace.WroteRequestInfo) {
	defer x.catch()
	x.Mu.Lock()
	defer x.Mu.Unlock()
	if x.over || info.Err != nil {
		return
	}
	x.upload.sent = true
	x.EnterLocked(transport.Wait)
	if !x.Final {
		x.startLocked(x.responseTimeout())
	}
}

// gotHeader runs when the first header of the response has come.
func (x *exchange) gotHeader() {
	x.Mu.Lock()
	defer x.Mu.Unlock()
	x.responded = true
}

// gotInterim runs for each interim response, on the goroutine that reads the connection. It must not wait.
func (x *exchange) gotInterim(status int, h textproto.MIMEHeader) error {
	if status == 101 {
		return x.fail(transport.Invalid, errSwitch)
	}
	size := len(":status") + len("100") + fieldOverhead
	for name, values := range h {
		for _, v := range values {
			size += len(name) + len(v) + fieldOverhead
		}
	}
	return x.hints.add(hint{status, fieldsOf(h)}, int64(size))
}

var (
	errSwitch       = transport.NewFault("a switch of protocols, which HTTP/2 does not have")
	errManyInterims = transport.NewFault("interim responses are too large in sum")
)

// hint is an interim response.
type hint struct {
	status int
	fields []transport.Field
}

// hints are the interim responses that are to be passed on. A goroutine does that while there are any, and Do's
// goroutine, which waits in RoundTrip, waits for it before it goes on. So On1xx runs as if it did on Do's.
type hints struct {
	x *exchange

	mu      sync.Mutex // guards what follows
	idle    sync.Cond
	queue   []hint
	size    int64 // bytes of all so far
	running bool
}

func (h *hints) begin() {
	h.idle.L = &h.mu
	h.queue, h.size, h.running = nil, 0, false
}

// add has one more passed on. The limit of all is as in http1: as many bytes as sixteen of the largest headers have, and
// one more for each byte of the request that was sent.
func (h *hints) add(one hint, size int64) error {
	x := h.x
	h.mu.Lock()
	defer h.mu.Unlock()
	x.Mu.Lock()
	over, limit := x.over || x.Cause != nil || x.Final, int64(0)
	if !over {
		limit = 16*int64(x.pool.o.MaxHeaderBytes) + x.sentBytes()
	}
	x.Mu.Unlock()
	if over {
		return errNotNeeded
	}
	if h.size += size; h.size > limit || size > int64(x.pool.o.MaxHeaderBytes) {
		return x.fail(transport.HeaderTooLarge, errManyInterims)
	}
	h.queue = append(h.queue, one)
	if !h.running {
		h.running = true
		go h.passOn()
	}
	return nil
}

// passOn passes on those that are there.
func (h *hints) passOn() {
	for {
		h.mu.Lock()
		if len(h.queue) == 0 {
			h.running = false
			h.idle.Broadcast()
			h.mu.Unlock()
			return
		}
		one := h.queue[0]
		h.queue = h.queue[1:]
		h.mu.Unlock()
		h.passOnOne(one)
	}
}

func (h *hints) passOnOne(one hint) {
	x := h.x
	defer x.catch()
	if x.req.On1xx != nil {
		x.req.On1xx(one.status, one.fields)
		x.RepeatPhase()
	}
	if one.status == 100 {
		x.upload.goAhead()
	}
}

// wait returns when all were passed on.
func (h *hints) wait() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for h.running {
		h.idle.Wait()
	}
}
