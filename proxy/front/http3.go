package front

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pace/proxy/front/h3"
	"pace/proxy/front/handshake"
	"pace/proxy/message"
	"pace/telemetry"
)

// ListenUDP opens the UDP port of an address on which HTTP/1.1 and HTTP/2 are served over TLS. Its errors say what
// to do.
func ListenUDP(of net.Addr) (net.PacketConn, error) {
	tcp, ok := of.(*net.TCPAddr)
	if !ok {
		return nil, fmt.Errorf("listen udp: %s has no port; write host:port, or remove http3", of)
	}
	network := "udp" // 4 and 6 where TCP has both
	if tcp.IP.To4() != nil {
		network = "udp4"
	}
	pc, err := net.ListenPacket(network, tcp.String())
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen udp %s: the port is in use; stop the process that uses it, or choose another port: %w", of, err)
	case err != nil:
		return nil, fmt.Errorf("listen udp %s: HTTP/3 needs the UDP port; remove http3, or permit it: %w", of, err)
	}
	return pc, nil
}

// ListenUDP is the function ListenUDP for an address that is new. A socket that was retired there and still has clients
// is taken up again: it would be in the way. ServeHTTP3 is to follow, or ForgetUDP.
func (s *Server) ListenUDP(of net.Addr) (net.PacketConn, error) {
	if pc := s.quic.reserve(of); pc != nil {
		return pc, nil
	}
	return ListenUDP(of)
}

// ForgetUDP closes a socket from [Server.ListenUDP] that is not to be served after all, or leaves it to its last clients.
func (s *Server) ForgetUDP(pc net.PacketConn) {
	if l := s.quic.release(pc); l == nil {
		pc.Close()
	} else if l.open() == 0 {
		s.quic.closeRetired(l)
	}
}

// altSvc is the field that says that the same is served over HTTP/3 (RFC 7838), for a day. A client that finds nobody
// there goes back to TCP.
func altSvc(port int) []string {
	if port == 0 {
		return nil
	}
	return []string{`h3=":` + strconv.Itoa(port) + `"; ma=86400`}
}

// Advertise says in a response where HTTP/3 is served, in place of what the backend says of itself.
func (c *Conn) Advertise(h http.Header) {
	if c.AltSvc != nil {
		h["Alt-Svc"] = c.AltSvc
	}
}

// quicListener makes a Conn of each connection over HTTP/3.
type quicListener struct {
	s          *Server
	from       net.PacketConn // what was passed to ServeHTTP3
	h3         *h3.Listener
	terminator *handshake.Terminator
	retired    atomic.Bool // it is gone, but pace goes on; written while served.mu is held
	reserved   bool        // although retired, it is about to be served again; guarded by served.mu
	refused    refusedPeers

	mu    sync.Mutex
	conns map[*Conn]struct{} // that are served; guarded by mu
}

// ServeHTTP3 begins to serve HTTP/3 on pc, which must be from ListenUDP. The function that it returns goes on with that
// until RetireHTTP3 or Drain, and then returns nil.
func (s *Server) ServeHTTP3(pc net.PacketConn, n ListenerSettings) (serve func() error) {
	if s.quic.takeUp(pc, *n.TLS) {
		return func() error { return nil } // it never ceased
	}
	l := &quicListener{s: s, from: pc, terminator: handshake.NewTerminator(*n.TLS), conns: map[*Conn]struct{}{}}
	var err error
	l.h3, err = h3.Listen(pc, h3.Options{Handler: s.handler, TLS: l.terminator, Settings: s.http3Settings, Begin: l.begin, Log: s.Log})
	if err != nil {
		pc.Close()
		return func() error { return err }
	}
	if !s.quic.add(l) {
		return l.h3.Close
	}
	return l.h3.Serve
}

const (
	// moreOfHeader is how much more of a header quic-go reads than pace accepts. It counts some fields differently, such as
	// the parts of a cookie. It refuses a request that is larger, but keeps the connection, so there need not be more.
	moreOfHeader = 4 << 10

	// usualHTTP3 is how many connections over HTTP/3 there may be if max_connections sets no limit. They need no
	// descriptors, which limit those over TCP.
	usualHTTP3 = 16 << 10
)

// http3Settings are those in force, for a connection that begins.
func (s *Server) http3Settings() h3.Settings {
	n := s.settings.Load()
	return h3.Settings{
		ReadHeaderTimeout: n.ReadHeaderTimeout,
		IdleTimeout:       n.IdleTimeout,
		MaxHeaderBytes:    n.MaxHeaderBytes + moreOfHeader,
		MaxStreams:        cmp.Or(n.MaxStreams, usualStreams),
	}
}

// ChangeHTTP3 puts n in force for the connections that begin on pc from now on; pc was passed to ServeHTTP3.
func (s *Server) ChangeHTTP3(pc net.PacketConn, n ListenerSettings) {
	if l := s.quic.of(pc); l != nil {
		l.terminator.Change(*n.TLS)
	}
}

// RetireHTTP3 ends the service of pc, which was passed to ServeHTTP3, while pace goes on. Its clients are told to leave;
// the socket is closed after the last response.
func (s *Server) RetireHTTP3(pc net.PacketConn) {
	l := s.quic.retire(pc)
	if l == nil {
		return
	}
	l.goodbye()
	go func() {
		quiet(s.base, l.open)
		s.quic.closeRetired(l)
	}()
}

// begin admits a connection that a client begins. Whose it is shows only at the end of the handshake, since the address
// may be forged: so only then it counts as one of its client's.
func (l *quicListener) begin(peer netip.AddrPort) *h3.Watch {
	c := &Conn{server: l.s, Peer: message.NewPeer(peer, message.HTTPS)}
	c.known.Store(true) // nobody waits for its first request
	if l.leaving() {
		return nil
	}
	if limit, ok := l.admit(c); !ok {
		if l.refused.isNew(peer, time.Now()) {
			c.refuseConnection("server.max_connections", limit)
		}
		return nil
	}
	return &h3.Watch{
		Failed:  c.handshakeFailed,
		Done:    func(of *h3.Conn) bool { return l.accept(c, of) },
		Context: c.requests,
		Refuse:  func(why telemetry.Refusal) { l.s.refuse(why, c) },
		Flood:   func(of string) { l.s.refuse(telemetry.RefusedFlood, c, slog.String("flood", of)) },
		Late:    l.s.isLate,
		Busy:    c.busy,
		Over:    func() { l.over(c) },
	}
}

// admit counts c, if the limit has room for it. If not, it returns the limit.
func (l *quicListener) admit(c *Conn) (limit int, ok bool) {
	limit = l.s.settings.Load().MaxConnections
	if n := l.s.quic.begun.Add(1); limit == 0 && n > usualHTTP3 {
		limit = usualHTTP3
	} else if l.s.open.enter(c, limit) {
		return limit, true
	}
	l.s.quic.begun.Add(-1)
	return limit, false
}

// refusedPeers are those whose connections were refused last. Nothing is kept of a refused connection, so each of its
// first packets, of which some clients need two and which may be sent again, would count as another one. The zero value
// is ready. Safe for concurrent use.
type refusedPeers struct {
	mu   sync.Mutex
	last [64]refusedPeer // in a circle; guarded by mu
	next int             // guarded by mu
}

type refusedPeer struct {
	addr netip.AddrPort
	at   time.Time
}

// repeating is how long the packets of a refused connection may come.
const repeating = 5 * time.Second

// isNew reports whether a refused connection has not been counted, and notes it.
func (r *refusedPeers) isNew(peer netip.AddrPort, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range r.last {
		if p.addr == peer && now.Sub(p.at) < repeating {
			return false
		}
	}
	r.last[r.next] = refusedPeer{peer, now}
	r.next = (r.next + 1) % len(r.last)
	return true
}

// leaving reports whether clients are told to go elsewhere.
func (l *quicListener) leaving() bool { return l.retired.Load() || l.s.InFlight.Draining() }

// accept takes a connection whose handshake is done, unless its client has too many.
func (l *quicListener) accept(c *Conn, of *h3.Conn) bool {
	l.s.HandshakeDone(of.Agreed.Version)
	if !c.admitClient() {
		return false
	}
	c.h3, c.Attached = of, l.s.Attach()
	l.mu.Lock()
	l.conns[c] = struct{}{}
	l.mu.Unlock()
	l.s.conns.move(c, http.StateNew)
	if l.leaving() { // it may have become so meanwhile
		of.Goodbye()
	}
	return true
}

// over notes that a connection has ended, which may never have been accepted.
func (l *quicListener) over(c *Conn) {
	c.lost.Store(true)
	l.s.open.leave(c)
	l.s.quic.begun.Add(-1)
	if c.h3 == nil {
		return
	}
	c.Attached.Close()
	l.s.conns.move(c, http.StateClosed)
	l.mu.Lock()
	delete(l.conns, c)
	l.mu.Unlock()
}

// busy notes whether the connection has requests.
func (c *Conn) busy(now bool) {
	state := http.StateIdle
	if now {
		state = http.StateActive
	}
	c.server.conns.move(c, state)
}

// requests returns the context of all requests on the connection. It also ends when draining has taken too long.
func (c *Conn) requests(of context.Context) context.Context {
	ctx, abort := context.WithCancelCause(WithConn(of, c))
	forget := context.AfterFunc(c.server.base, func() { abort(context.Cause(c.server.base)) })
	context.AfterFunc(of, func() { forget() })
	return ctx
}

// open returns how many connections there are.
func (l *quicListener) open() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.conns))
}

// goodbye sends GOAWAY on each connection.
func (l *quicListener) goodbye() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.h3.Goodbye()
	}
}
