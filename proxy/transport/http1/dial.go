package http1

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	maxAddresses = 16                     // of one name that a dial tries
	headStart    = 250 * time.Millisecond // of one address before the next is tried beside it (RFC 8305 §5), or its share of the time if that is less
	lateness     = 5 * time.Millisecond   // of a timer: one that is later shows that the process was stopped or had no processor
	lastLook     = 20 * time.Millisecond  // what a late timer leaves for events that the kernel has had ready all the while
)

// errConnectTimeout is the cause that ends a dial's context when its time is up.
var errConnectTimeout = errors.New("connect timeout")

// dial connects to the pool's backend. It resolves the name, unless the backend is given by its
// address, and connects to the first of its addresses that answers.
func (x *exchange) dial() (*conn, Kind, error) {
	p := x.pool
	if p.host == "" {
		x.enter(Connect)
	} else {
		x.enter(DNS)
	}
	due := time.Now().Add(p.o.ConnectTimeout)
	ctx, cancel := endAt(x.ctx, due)
	defer cancel()
	addrs, err := p.resolve(ctx)
	if err != nil {
		if exhausted(err) {
			return nil, Exhausted, err
		}
		return nil, DNSFailed, err
	}
	x.enter(Connect)
	nc, err := p.connect(ctx, addrs, min(headStart, time.Until(due)/time.Duration(len(addrs))))
	if err != nil {
		return nil, undialed(err), err
	}
	return newConn(nc), 0, nil
}

// endAt returns a context that ends at due, or when ctx does. It ends a moment later if the timer is
// late: a connection may have been established while the process was stopped, and nobody has looked.
func endAt(ctx context.Context, due time.Time) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	timer := time.AfterFunc(time.Until(due), func() {
		if time.Since(due) > lateness {
			time.Sleep(lastLook)
		}
		end(errConnectTimeout)
	})
	return ctx, func() {
		timer.Stop()
		end(nil)
	}
}

// resolve returns the addresses to connect to, in order.
func (p *Pool) resolve(ctx context.Context) ([]string, error) {
	if p.host == "" {
		return []string{p.addr}, nil
	}
	found, err := p.o.Lookup(ctx, p.host)
	switch {
	case err != nil && timedOut(ctx, err):
		return nil, &net.DNSError{Err: os.ErrDeadlineExceeded.Error(), Name: p.host, IsTimeout: true}
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, &net.DNSError{Err: "no address", Name: p.host, IsNotFound: true}
	}
	found = alternate(found)
	found = found[:min(len(found), maxAddresses)]
	addrs := make([]string, len(found))
	for i, a := range found {
		addrs[i] = net.JoinHostPort(a.String(), p.port)
	}
	return addrs, nil
}

// alternate orders addresses so that the two families take turns (RFC 8305 §4), since often a whole
// family is silent. The family of the first address goes first.
func alternate(found []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); len(first) == 0 || a.Is4() == first[0].Is4() {
			first = append(first, a)
		} else {
			second = append(second, a)
		}
	}
	for i, a := range second {
		if at := 2*i + 1; at < len(first) {
			first = slices.Insert(first, at, a)
		} else {
			first = append(first, a)
		}
	}
	return first
}

// dialed is how connecting to one address ended.
type dialed struct {
	conn net.Conn
	err  error
	bug  any // a panic
}

// connect connects to one of addrs. Each is tried as soon as the one before has failed, or has been
// silent for headStart; the first that answers wins, and the others are given up.
func (p *Pool) connect(ctx context.Context, addrs []string, headStart time.Duration) (net.Conn, error) {
	if len(addrs) == 1 {
		return p.dialOne(ctx, addrs[0])
	}
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
		go func() { results <- p.caught(ctx, addr) }()
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

// closeDialed closes the n connections that come too late.
func closeDialed(results <-chan dialed, n int) {
	for range n {
		if r := <-results; r.conn != nil {
			r.conn.Close()
		}
	}
}

func (p *Pool) caught(ctx context.Context, addr string) (r dialed) {
	defer func() {
		if bug := recover(); bug != nil {
			r = dialed{bug: fmt.Errorf("%v\n%s", bug, debug.Stack())}
		}
	}()
	c, err := p.dialOne(ctx, addr)
	return dialed{conn: c, err: err}
}

func (p *Pool) dialOne(ctx context.Context, addr string) (net.Conn, error) {
	c, err := p.o.Dial(ctx, "tcp", addr)
	if err != nil && timedOut(ctx, err) { // what the dialer calls canceled
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: address(addr), Err: os.ErrDeadlineExceeded}
	}
	return c, err
}

// timedOut reports whether err only says that the dial's time was up.
func timedOut(ctx context.Context, err error) bool {
	return context.Cause(ctx) == errConnectTimeout && errors.Is(err, context.Canceled)
}

// address is a host:port as a net.Addr.
type address string

func (address) Network() string  { return "tcp" }
func (a address) String() string { return string(a) }

// dialErrors are the errors of several addresses of one name, in the order in which they came.
type dialErrors []error

func (e dialErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e dialErrors) Unwrap() []error { return e }

// undialed names how connecting failed. Of several addresses, one that was silent decides, since it
// took all the time; what pace lacks decides only if it was lacking for each of them.
func undialed(err error) Kind {
	each, ok := err.(dialErrors)
	if !ok {
		each = dialErrors{err}
	}
	kind := Exhausted
	for _, err := range each {
		timeout, isTimeout := errors.AsType[net.Error](err)
		switch {
		case errors.Is(err, context.DeadlineExceeded), isTimeout && timeout.Timeout():
			return ConnectTimeout
		case !exhausted(err):
			kind = ConnectFailed
		}
	}
	return kind
}

// lacks are the errors of a machine that has no more descriptors, ports or memory to give.
var lacks = []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// exhausted reports whether err is this machine's doing, and no backend's.
func exhausted(err error) bool {
	return slices.ContainsFunc(lacks, func(lack error) bool { return errors.Is(err, lack) })
}
