// Package h3 serves HTTP/3 on a UDP socket, with quic-go. It keeps the books of each connection that quic-go keeps to
// itself: which requests it refuses before a handler sees them, who ended a request, and when a connection is idle.
//
// It must not know listeners over TCP, nor what becomes of a request.
package h3

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"

	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// Options configure a Listener. All fields must be set.
type Options struct {
	Handler  http.Handler // of all requests that quic-go does not refuse
	TLS      *handshake.Terminator
	Settings func() Settings                  // of a connection that begins now
	Begin    func(peer netip.AddrPort) *Watch // of a client that begins a connection; nil: it is refused
	Log      *slog.Logger
}

// Settings are what holds for a connection.
type Settings struct {
	ReadHeaderTimeout time.Duration // for its handshake, and from then until its first request; 0: no limit
	IdleTimeout       time.Duration // without a request; 0: no limit
	MaxHeaderBytes    int           // of a request, as [RFC 9114] §4.2.2 counts them
	MaxStreams        int
}

// Watch is called for what happens on a connection, by goroutines of the connection's.
type Watch struct {
	Failed  func(*handshake.Failure)              // the handshake
	Done    func(*Conn) bool                      // the handshake is done; false: the connection is refused
	Context func(context.Context) context.Context // makes the one of all its requests
	Refuse  func(telemetry.Refusal)               // a request or the connection
	Flood   func(of string)                       // that ends the connection
	Late    func() bool                           // a request whose header comes now is to be rejected
	Busy    func(bool)                            // it has requests now, or has none any more; it must not call the Conn
	Over    func()                                // it has ended, or was never established
}

const (
	// What a client may send before pace reads it. It bounds the memory of a connection.
	maxStreamWindow = 1 << 20
	maxConnWindow   = 2 << 20
	firstWindow     = 256 << 10

	// What HTTP/3 needs are three streams of one direction, and clients open some to keep that extensible.
	maxUniStreams = 8

	// A client that is gone without a word is noticed by its silence. It need not say anything while it waits, so pace
	// asks in between.
	silence = 30 * time.Second
	askEach = 10 * time.Second

	// From so many handshakes in progress on, clients must first show that they get what is sent to their address.
	manyHandshakes = 64
)

// Listener is a UDP socket on which HTTP/3 is served.
type Listener struct {
	Options
	transport   *quic.Transport
	quic        *quic.Listener
	handshaking atomic.Int64
}

// Listen serves HTTP/3 on pc, once Serve is called.
func Listen(pc net.PacketConn, o Options) (*Listener, error) {
	os.Setenv("QUIC_GO_DISABLE_RECEIVE_BUFFER_WARNING", "true") // it would be a line in the log without pace's form
	l := &Listener{Options: o}
	l.transport = &quic.Transport{
		Conn:                pc,
		ConnContext:         l.begin,
		VerifySourceAddress: func(net.Addr) bool { return l.handshaking.Load() >= manyHandshakes },
	}
	var err error
	l.quic, err = l.transport.Listen(o.TLS.QUIC(noteOffer), &quic.Config{
		GetConfigForClient: func(*quic.ClientInfo) (*quic.Config, error) { return l.config(), nil },
	})
	return l, err
}

// config is what quic-go is told of a connection. 0-RTT stays off: what it carries may be a copy that somebody sends
// again.
func (l *Listener) config() *quic.Config {
	n := l.Settings()
	return &quic.Config{
		HandshakeIdleTimeout:           n.ReadHeaderTimeout / 2, // quic-go bounds the whole handshake by twice that
		MaxIdleTimeout:                 silence,
		KeepAlivePeriod:                askEach,
		InitialStreamReceiveWindow:     firstWindow,
		InitialConnectionReceiveWindow: firstWindow,
		MaxStreamReceiveWindow:         maxStreamWindow,
		MaxConnectionReceiveWindow:     maxConnWindow,
		MaxIncomingStreams:             int64(n.MaxStreams),
		MaxIncomingUniStreams:          maxUniStreams,
		Tracer:                         tracer,
	}
}

// attempt is a connection that a client has begun, until it ends.
type attempt struct {
	l       *Listener
	watch   *Watch
	offer   handshake.Offer      // written by the handshake
	settled atomic.Bool          // the handshake is over
	conn    atomic.Pointer[Conn] // once it is served
}

type attemptKey struct{}

func attemptOf(ctx context.Context) *attempt { return ctx.Value(attemptKey{}).(*attempt) }

var errRefused = errors.New("refused")

// begin admits a connection that a client begins. Its address may be forged.
func (l *Listener) begin(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	w := l.Begin(info.RemoteAddr.(*net.UDPAddr).AddrPort())
	if w == nil {
		return nil, errRefused
	}
	a := &attempt{l: l, watch: w}
	l.handshaking.Add(1)
	context.AfterFunc(ctx, func() { a.over(context.Cause(ctx)) })
	return context.WithValue(ctx, attemptKey{}, a), nil
}

// noteOffer notes what a client offers.
func noteOffer(ctx context.Context, o handshake.Offer) { attemptOf(ctx).offer = o }

// settle ends the handshake. It reports whether that is not known yet: who learns it first has the connection.
func (a *attempt) settle() bool {
	if !a.settled.CompareAndSwap(false, true) {
		return false
	}
	a.l.handshaking.Add(-1)
	return true
}

// over notes that the connection has ended, because of err. Once it is served, serve does so.
func (a *attempt) over(err error) {
	if !a.settle() {
		return
	}
	if _, sent := errors.AsType[*quic.ApplicationError](err); !sent { // a client can send that only after the handshake
		a.watch.Failed(a.failure(err))
	}
	a.watch.Over()
}

// failure finds out why a handshake failed.
func (a *attempt) failure(err error) *handshake.Failure {
	_, silent := errors.AsType[*quic.IdleTimeoutError](err)
	_, late := errors.AsType[*quic.HandshakeTimeoutError](err)
	if silent || late {
		return &handshake.Failure{Reason: telemetry.HandshakeTimeout, Err: err, Offer: a.offer}
	}
	return handshake.FailureOf(err, &a.offer)
}

// Serve serves connections until Close, and then returns nil.
func (l *Listener) Serve() error {
	for {
		conn, err := l.quic.Accept(context.Background())
		if errors.Is(err, quic.ErrServerClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		if a := attemptOf(conn.Context()); a.settle() {
			go a.serve(conn)
		}
	}
}

// Close closes the socket, and with it what is left of the connections.
func (l *Listener) Close() error {
	l.quic.Close()
	l.transport.Close()
	return l.transport.Conn.Close()
}
