package exchange

import (
	"context"
	"net/http/httptrace"
)

// dial connects to the pool's backend. Its phase is Connect, but DNS while a name is resolved.
func (x *exchange) dial() (*conn, error) {
	x.enter(Connect)
	ctx, over := x.tellLookup(x.ctx)
	defer over()
	o := &x.pool.o
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	nc, err := o.Dial(ctx, "tcp", x.pool.addr)
	if err != nil {
		return nil, err
	}
	return newConn(nc), nil
}

// tellLookup returns a context that makes a net.Dialer tell when it resolves a name. What it tells
// after over is not listened to: a lookup may outlive the dial that began it, and x be another
// exchange by then. One that failed was what the dial was busy with to its end.
func (x *exchange) tellLookup(ctx context.Context) (told context.Context, over func()) {
	dialing := true // x.mu guards it
	step := func(from, to Phase) {
		x.mu.Lock()
		defer x.mu.Unlock()
		if dialing && x.phase == from {
			x.enterLocked(to)
		}
	}
	over = func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		dialing = false
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) { step(Connect, DNS) },
		DNSDone: func(done httptrace.DNSDoneInfo) {
			if done.Err == nil {
				step(DNS, Connect)
			}
		},
	}), over
}
