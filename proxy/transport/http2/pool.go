package http2

import (
	"context"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// Pool holds the connections to one backend. It is safe for concurrent use.
//
// An exchange goes on the first connection that has room for it, so that the last ones become idle when there is less
// to do. If none has, a new one is dialed. The exchanges that come meanwhile wait for that one, as many as it can be
// expected to carry, instead of dialing one each.
type Pool struct {
	o      Options
	scheme string // of requests: http or https
	dialer *dial.Dialer
	http   *http.Transport

	patience time.Duration // how long a frame waits for the next one

	mu      sync.Mutex // guards what follows
	conns   []*conn    // that may carry one more exchange, or will when others have ended
	dialing *dialing   // the newest dial in progress; nil: none
	open    int        // connections, those that end and those being dialed included
	limit   int        // of open; 0: maxConnections
	carries int        // how many exchanges one connection carries, as far as the backend has said; 0: not at all
	closed  bool
	drops   bool // keeps no idle connection
}

// dialing is a connection that is being dialed.
type dialing struct {
	secures chan struct{} // closed when the handshake of TLS begins
	done    chan struct{} // closed when the rest is set
	waiters int           // exchanges that wait for it; guarded by Pool.mu
	conn    *conn         // nil: it failed
	kind    transport.Kind
	err     error
	bug     any // a panic
}

// NewPool returns a pool without connections. They will be to a.
func NewPool(a dial.Address, o Options) *Pool {
	o = o.withDefaults()
	p := &Pool{o: o, scheme: o.Scheme, patience: usualPatience, dialer: dial.New(a, dial.Options{Timeout: o.ConnectTimeout, TLS: o.TLS, Dial: o.Dial})}
	switch {
	case o.Scheme != "":
	case o.TLS != nil:
		p.scheme = "https"
	default:
		p.scheme = "http"
	}
	var speaks http.Protocols
	speaks.SetUnencryptedHTTP2(true) // whatever is below: net/http gets a connection in clear text
	p.http = &http.Transport{
		Protocols:              &speaks,
		DisableCompression:     true,
		IdleConnTimeout:        o.IdleTimeout,
		MaxResponseHeaderBytes: netHTTPHeaderLimit * int64(o.MaxHeaderBytes),
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     streamWindow,
			MaxReceiveBufferPerConnection: connWindow,
			MaxEncoderHeaderTableSize:     noHeaderTable,
		},
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return ctx.Value(connKey{}).(*conn), nil },
	}
	return p
}

// netHTTPHeaderLimit is how many times as large as the pool's limit a header may be before net/http refuses it. net/http
// does not say that the size is why, and at the double of its limit it ends the whole connection.
const netHTTPHeaderLimit = 4

// noHeaderTable is the size of the table of fields that were sent before: no field fits into it, so each is sent as it
// is. 0 would mean 4096 bytes. The ids of each request are new, and so are the fields about its client. They would push
// everything else out of the table, and to keep it would take a tenth of the CPU of a request. Without a table, the length
// of a request also says nothing about the requests of other clients (RFC 7541 §7.1).
const noHeaderTable = 1

// connKey is the key in a context of the connection that NewClientConn shall use.
type connKey struct{}

// Idle returns how many connections carry no exchange.
func (p *Pool) Idle() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.idleLocked()
}

func (p *Pool) idleLocked() (n int) {
	for _, c := range p.conns {
		if c.isIdle() {
			n++
		}
	}
	return n
}

// Open returns how many connections there are, with idle ones, and with those that are being dialed.
func (p *Pool) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// Close closes the idle connections. One that is in use is closed when its last exchange ends.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	idle := p.takeIdle(len(p.conns))
	p.mu.Unlock()
	closeAll(idle)
}

// KeepIdle sets whether connections are kept for another exchange. If not, idle ones are closed at once, and others when
// their last exchanges end.
func (p *Pool) KeepIdle(keep bool) {
	p.mu.Lock()
	var idle []*conn
	if p.drops = !keep; p.drops {
		idle = p.takeIdle(len(p.conns))
	}
	p.mu.Unlock()
	closeAll(idle)
}

// Limit sets how many connections there may be; 0: maxConnections; negative: none. If there are more, idle ones are
// closed at once, and others when their last exchanges end. However many exchanges dial at once, the pool never dials
// beyond the limit.
func (p *Pool) Limit(connections int) {
	p.mu.Lock()
	p.limit = connections
	idle := p.takeIdle(p.open - p.limitLocked())
	p.mu.Unlock()
	closeAll(idle)
}

func (p *Pool) limitLocked() int {
	if p.limit != 0 {
		return max(p.limit, 0)
	}
	return maxConnections
}

// takeIdle takes up to n idle connections out of the pool, those that are used least first. p.mu is held. They are open
// until they are closed.
func (p *Pool) takeIdle(n int) (idle []*conn) {
	for i := len(p.conns) - 1; i >= 0 && len(idle) < n; i-- {
		if c := p.conns[i]; c.isIdle() {
			idle = append(idle, c)
			p.unlist(c)
		}
	}
	return idle
}

// unlist lets c carry no further exchange. p.mu is held.
func (p *Pool) unlist(c *conn) {
	if c.listed {
		c.listed = false
		p.conns = slices.DeleteFunc(p.conns, func(one *conn) bool { return one == c })
	}
}

// retire lets c carry no further exchange. It is closed when its last one ends.
func (p *Pool) retire(c *conn) {
	p.mu.Lock()
	p.unlist(c)
	idle := c.counted && c.isIdle() // dialed looks at one that is not counted yet
	p.mu.Unlock()
	if idle {
		c.http.Close()
	}
}

// remove notes that c was closed.
func (p *Pool) remove(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unlist(c)
	if c.gone = true; c.counted {
		p.open--
	}
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		c.http.Close()
	}
}

// isIdle reports whether nobody uses c, nor has waited for it and is about to. Pool.mu is held.
func (c *conn) isIdle() bool { return c.users == 0 && c.waiters == 0 }

// isOver reports whether c is idle, and may not stay so. p.mu is held.
func (p *Pool) isOver(c *conn) bool { return c.isIdle() && (!c.listed || p.closed || p.drops) }

// use counts one more exchange on c, if there is room for it. p.mu is held.
func (p *Pool) use(c *conn) bool {
	if !c.listed || c.users >= maxStreams || c.http.Reserve() != nil {
		return false
	}
	c.users++
	return true
}

// leave notes that an exchange has ended on c. The connection is closed if it was the last one, and c is not kept.
func (p *Pool) leave(c *conn) {
	p.mu.Lock()
	c.users--
	over := p.isOver(c) || c.isIdle() && (p.open > p.limitLocked() || p.idleLocked() > p.o.MaxIdle)
	if over {
		p.unlist(c)
	}
	p.mu.Unlock()
	if over {
		c.http.Close()
	}
}
