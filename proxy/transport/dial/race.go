package dial

import (
	"context"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"time"
)

// maxHeadStart is how long one address is tried alone before the next is tried concurrently (RFC 8305 §5), or
// its share of the dial's time if that is less.
const maxHeadStart = 250 * time.Millisecond

// dialed is how connecting to one address ended.
type dialed struct {
	conn net.Conn
	err  error
	bug  any // a panic
}

// connect connects to one of the addresses. It tries each as soon as the one before has failed, or has been
// silent for headStart. It returns the first connection that is established, and gives up the others.
func (d *Dialer) connect(ctx context.Context) (net.Conn, error) {
	if len(d.Others) == 0 {
		return d.dialOne(ctx, d.Addr)
	}
	addrs := append([]string{d.Addr}, d.Others...)
	headStart := min(maxHeadStart, d.o.Timeout/time.Duration(len(addrs)))
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results := make(chan dialed, len(addrs))
	next := time.NewTimer(headStart)
	defer next.Stop()
	begun, ended, failures := 0, 0, dialErrors{}
	begin := func() {
		addr := addrs[begun]
		begun++
		next.Reset(headStart)
		go func() { results <- d.caught(ctx, addr) }()
	}
	begin()
	for {
		select {
		case <-next.C:
			if begun < len(addrs) && ctx.Err() == nil {
				begin()
			}
			continue
		case r := <-results:
			ended++
			switch {
			case r.bug != nil:
				go closeDialed(results, begun-ended)
				panic(r.bug)
			case r.err == nil:
				go closeDialed(results, begun-ended)
				return r.conn, nil
			}
			failures = append(failures, r.err)
		}
		switch {
		case begun < len(addrs) && ctx.Err() == nil:
			begin()
		case ended == begun:
			return nil, failures
		}
	}
}

// closeDialed closes the connections among the n results that come too late.
func closeDialed(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			r.conn.Close()
		}
	}
}

// caught connects to one address on a goroutine of its own, and returns a panic as a result.
func (d *Dialer) caught(ctx context.Context, addr string) (r dialed) {
	defer func() {
		if bug := recover(); bug != nil {
			r = dialed{bug: fmt.Errorf("%v\n%s", bug, debug.Stack())}
		}
	}()
	c, err := d.dialOne(ctx, addr)
	return dialed{conn: c, err: err}
}

// dialOne connects to one address.
func (d *Dialer) dialOne(ctx context.Context, addr string) (net.Conn, error) {
	c, err := d.o.Dial(ctx, d.Network, addr)
	if err != nil && timedOut(ctx, err) { // the dialer calls it canceled
		return nil, &net.OpError{Op: "dial", Net: d.Network, Addr: address{d.Network, addr}, Err: os.ErrDeadlineExceeded}
	}
	return c, err
}

// address is an address as a net.Addr.
type address struct{ network, addr string }

func (a address) Network() string { return a.network }
func (a address) String() string  { return a.addr }
