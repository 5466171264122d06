package front

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"pace/proxy/front/h1"
	"pace/proxy/front/h2"
	"pace/proxy/front/h3"
	"pace/proxy/front/handshake"
	"pace/proxy/front/socket"
	"pace/proxy/message"
	"pace/telemetry"
)

// Conn is a client's connection. It notices what net/http itself responds: a request that net/http refuses never
// reaches the handler, so whatever is written between the end of one response and the start of the next handler
// is a refusal.
type Conn struct {
	socket.Conn
	Peer         message.Peer
	RedirectTo   int                  // port over TLS to which the requests are redirected; 0: none is
	AltSvc       []string             // the field of each response that says where HTTP/3 is served; nil: nowhere
	Attached     interface{ Close() } // what the handler keeps with the connection, and that is closed with it
	server       *Server
	listener     *listener
	generation   *generation // that serves it
	announcement announcement
	tls          *handshake.Conn // nil: clear text; else it is Conn
	place        place
	certOnce     sync.Once
	cert         *ClientCert // made once
	h2           *h2.Conn    // nil: not HTTP/2. Set by the Read that brings the preface, before anything else happens.
	h3           *h3.Conn    // nil: not HTTP/3, and a socket.Conn; else there is no socket of its own
	spoken       atomic.Bool // net/http has begun to write HTTP/2
	unlawful     int         // bytes of h2.Unlawful that net/http has read. The goroutine that reads owns it.
	preface      int         // bytes of HTTP/2's preface that have come; -1: HTTP/1. The goroutine that reads owns it.
	lost         atomic.Bool // the client has closed it, or it broke, or pace has closed it
	lingers      atomic.Bool // before it is closed, the client has time to read the response
	begun        atomic.Bool // a request has begun since the last one, if there was one
	rested       atomic.Bool // net/http has set a deadline since the last request
	handled      atomic.Bool // the present request reached the handler
	timedOut     atomic.Bool // the last read ran into its deadline
	detour       detour
	state        atomic.Int32 // an http.ConnState

	header atomic.Pointer[time.Timer] // runs while a header over HTTP/2 comes in several frames

	h1        h1.Reader
	nth       int  // number of the present request, over HTTP/1
	misframed bool // the present request's framing is at fault
	padded    bool // Read has lengthened malformed bytes so that net/http responds to them

	// For draining.
	heard   atomic.Bool // something has been read
	known   atomic.Bool // it is no newcomer any more: a request reached the handler, or it was closed
	welcome atomic.Bool // nothing had been read when accepting ended: the first request is served

	taking   taking // over HTTP/2, where the bytes go
	writing  turn   // of net/http's HTTP/2, sayGoodbye or sendHeld to write; guards what follows, and h2's ReadOutgoing and ReadTaken. Set with h2.
	held     held
	goneAway bool  // GOAWAY is sent
	calm     bool  // it was h2's CalmNotice, and nothing else is sent any more
	broken   error // of the first write that failed: nothing is sent any more
}

type connKey struct{}

// WithConn returns a context for the requests on c.
func WithConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ConnOf returns the connection that a request came on.
func ConnOf(ctx context.Context) *Conn { return ctx.Value(connKey{}).(*Conn) }

// Welcome reports whether a request is served although pace drains: its header has come before it was late, or it is
// the first on a connection that was accepted last. stream is the request's [StreamID].
func (c *Conn) Welcome(stream uint32) bool {
	switch {
	case c.welcome.Load():
		return true
	case c.h2 != nil:
		return c.h2.Early(stream)
	case c.h3 != nil:
		return c.h3.Early(stream)
	}
	return c.h1.Early(c.nth)
}

// Misframed reports whether the framing of the present request, one of HTTP/1, is at fault.
func (c *Conn) Misframed() bool { return c.misframed }

// Body returns how much of the present request's body has come, and whether all of it has. Over HTTP/1 only the latter is
// known, and over HTTP/3 nothing is, because quic-go does not tell. stream is the request's [StreamID].
func (c *Conn) Body(stream uint32) (came int64, whole bool) {
	if c.h3 != nil {
		return 0, false
	}
	if c.h2 == nil || stream == 0 {
		return 0, c.h1.Whole(c.nth)
	}
	return c.h2.Body(stream)
}

// handling notes that a request reached the handler.
func (c *Conn) handling() {
	c.meet()
	if !c.handled.Load() { // HTTP/2 has many at a time
		c.handled.Store(true)
	}
}

// next notes that a request is over. To end its own read, net/http lets it run into a deadline, so timedOut is
// reset.
func (c *Conn) next() {
	c.begun.Store(false)
	c.rested.Store(false)
	c.handled.Store(false)
	c.timedOut.Store(false)
	c.welcome.Store(false)
	c.h1.Resume()
}

// late reports whether a header has begun, and has not come to its end in time.
func (c *Conn) late() bool { return c.begun.Load() && !c.handled.Load() && c.timedOut.Load() }

// Read implements net.Conn.
func (c *Conn) Read(b []byte) (int, error) {
	if c.announcement == shut || c.announcement == mustAnnounce && !c.readAnnouncement() {
		c.lost.Store(true)
		return 0, io.EOF // of which net/http says nothing to the client
	}
	if !c.padded && !c.spoken.Load() && c.h1.Malformed() {
		c.padded = true
		return copy(b, "\n\n\n\n\n\n\n\n\n\n\n\n\n\n"), nil // as many bytes as net/http waits for
	}
	if c.h2 != nil && c.h2.Flooded() {
		return c.readUnlawful(b)
	}
	if c.tls != nil && !c.heard.Load() {
		growStack(false) // for the handshake
	}
	n, err := c.readOn(b)
	if n > 0 && !c.begun.Load() {
		c.begun.Store(true)
	}
	if n > 0 && !c.heard.Load() {
		c.heard.Store(true)
		c.welcome.Store(c.server.InFlight.Draining())
	}
	if n > 0 && c.preface >= 0 {
		if n = c.follow(b[:n]); c.preface < 0 && c.agreedOnHTTP2() {
			return c.refusePreface()
		}
	}
	if err != nil {
		late := errors.Is(err, os.ErrDeadlineExceeded)
		c.timedOut.Store(late)
		if !late {
			c.lost.Store(true)
		}
	}
	return n, err
}

// agreedOnHTTP2 reports whether the client may speak nothing else than HTTP/2.
func (c *Conn) agreedOnHTTP2() bool { return c.tls != nil && c.tls.HTTP2 }

// refusePreface ends a connection whose client has agreed on HTTP/2, and then speaks something else.
func (c *Conn) refusePreface() (int, error) {
	c.server.refuse(telemetry.RefusedH2Error, c)
	c.announcement = shut
	c.lost.Store(true)
	return 0, io.EOF
}

// follow finds out whether the client speaks HTTP/2, and if so, reads along. It returns how much net/http is to read.
func (c *Conn) follow(b []byte) int {
	before := 0
	if c.h2 == nil {
		n := min(len(h2.Preface)-c.preface, len(b))
		if string(b[:n]) != h2.Preface[c.preface:c.preface+n] {
			c.preface = -1
			return len(b)
		}
		if c.preface += n; c.preface < len(h2.Preface) {
			return len(b)
		}
		b, before = b[n:], n
		c.taking.on, c.taking.limit = true, c.generation.delivery
		c.writing = newTurn()
		c.h2 = h2.New(h2.Watch{
			HeaderBytes: c.generation.http.MaxHeaderBytes,
			MaxStreams:  c.generation.maxStreams(),
			Refuse:      func(why telemetry.Refusal) { c.server.refuse(why, c) },
			Flood:       c.flooded,
			Header:      c.timeHeader,
			Late:        c.server.isLate,
		})
	}
	return before + c.h2.ReadIncoming(b)
}

// readOn reads until there is more than the empty lines before a request.
func (c *Conn) readOn(b []byte) (n int, err error) {
	for n == 0 && err == nil && len(b) > 0 {
		if c.tls != nil {
			n, err = c.tls.Read(b)
		} else {
			n, err = c.detour.read(c.Conn, b)
		}
		if n > 0 && c.announcement == mustNotClaim && c.claims(b[:n]) {
			return 0, io.EOF
		}
		if n == 0 {
			continue
		}
		if &b[0] == &elsewhere[0] {
			c.h1.Skip(n)
		} else {
			n = c.h1.Read(b[:n])
		}
	}
	return n, err
}

// Close implements net.Conn. A login at a backend ends with the client's connection.
func (c *Conn) Close() error {
	if c.lingers.CompareAndSwap(true, false) {
		c.linger()
	}
	c.lost.Store(true)
	c.Attached.Close()
	c.meet()
	c.server.open.leave(c)
	if c.spoken.Load() {
		c.server.multiplexed.remove(c)
	}
	return c.Conn.Close()
}

// Lingering is how long a client may take to notice that its body is of no use any more.
const Lingering = 5 * time.Second

// LingerOnClose lets a client that still sends its body read the response: what it sends is dropped, and does not have the
// kernel reset the connection. After a request without Expect, net/http waits half a second by itself.
func (c *Conn) LingerOnClose() { c.lingers.Store(true) }

func (c *Conn) linger() {
	c.CloseWrite()
	wire := c.under()
	wire.SetReadDeadline(time.Now().Add(Lingering))
	io.Copy(io.Discard, struct{ io.Reader }{wire})
}

// under returns the connection below TLS.
func (c *Conn) under() socket.Conn { return c.taking.Conn }

// ResetOnClose makes the end of the connection a reset. Only TCP has such a thing.
func (c *Conn) ResetOnClose() {
	if tcp, ok := c.under().(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
}

// ClientLeft reports whether a request ended because the client left. If not, net/http or quic-go ended it, because the
// client broke a rule of HTTP. stream is the request's [StreamID].
func (c *Conn) ClientLeft(stream uint32) bool {
	if c.h3 != nil {
		return c.h3.ClientLeft(stream)
	}
	if c.h2 == nil || stream == 0 {
		return c.lost.Load()
	}
	switch c.h2.Cause(stream) {
	case h2.ClientLeft:
		return true
	case h2.ClientBroke:
		return false
	}
	return c.lost.Load() && !c.h2.GivenUp()
}

// GivenUp reports whether net/http has given up the HTTP/2 connection because of a fault. It then sends
// nothing more, but accepts what handlers write, and ends their contexts a second later.
func (c *Conn) GivenUp() bool { return c.h2 != nil && c.h2.GivenUp() }

// StreamID returns the id of the HTTP/2 stream on which w responds, or what stands for it over HTTP/3, and 0 over HTTP/1.
func StreamID(w http.ResponseWriter) uint32 {
	if id := h3.RequestNumber(w); id != 0 {
		return id
	}
	return h2.StreamID(w)
}

// SetReadDeadline implements net.Conn. After a request net/http sets a deadline for the idle time, and the
// next one when another request has begun. That request may have come in one packet with the last one, so that
// no Read shows that it has begun.
func (c *Conn) SetReadDeadline(t time.Time) error {
	if !c.rested.Load() {
		c.rested.Store(true)
	} else if !c.begun.Load() {
		c.begun.Store(true)
	}
	c.detour.late.set(t)
	return c.Conn.SetReadDeadline(t)
}

// Write implements net.Conn.
func (c *Conn) Write(b []byte) (int, error) {
	switch {
	case c.h2 != nil:
		if !c.spoken.Load() {
			c.spoken.Store(true)
			c.server.multiplexed.add(c)
		}
		return c.writeFrames(b)
	case c.handled.Load():
	default:
		if why, ok := h1.Refusal(b); ok {
			if c.late() { // net/http takes an unfinished line for a whole one, and for malformed; else it says nothing, too
				return len(b), nil
			}
			c.server.refuse(why, c)
		}
	}
	return c.Conn.Write(b)
}

// Survive reports a panic to OnBug. What runs on other goroutines than the handlers' defers it, because a panic
// there would end pace.
func (c *Conn) Survive() {
	if p := recover(); p != nil {
		c.server.OnBug(p, string(debug.Stack()))
	}
}

// meet notes that the connection is no newcomer any more.
func (c *Conn) meet() {
	if !c.known.Load() && c.known.CompareAndSwap(false, true) {
		c.server.newcomers.Add(-1)
	}
}

// connCounts counts client connections by what they are busy with.
type connCounts struct {
	active, idle atomic.Int64
}

// move counts c from its old state to the next.
func (n *connCounts) move(c *Conn, next http.ConnState) {
	last := http.ConnState(c.state.Swap(int32(next)))
	if next != http.StateNew {
		n.of(last, -1)
	}
	n.of(next, 1)
}

func (n *connCounts) of(s http.ConnState, by int64) {
	switch s {
	case http.StateActive:
		n.active.Add(by)
	case http.StateNew, http.StateIdle:
		n.idle.Add(by)
	}
}

func (n *connCounts) read() (active, idle int) {
	return int(n.active.Load()), int(n.idle.Load())
}

// refuse counts a request or connection that never reached the handler. It logs at most one line a second,
// since a client that sends malformed requests may send many. c may be nil.
func (s *Server) refuse(why telemetry.Refusal, c *Conn, more ...slog.Attr) {
	s.Refused(why)
	if !s.refusals.Pass() {
		return
	}
	attrs := []slog.Attr{slog.String("reason", why.String())}
	if c != nil {
		attrs = append(attrs, slog.String("peer", net.JoinHostPort(c.Peer.Text, strconv.Itoa(c.Peer.Port))))
	}
	s.Log.LogAttrs(context.Background(), slog.LevelWarn, "refused a client's request or connection", append(attrs, more...)...)
}
