package front

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"pace/proxy/front/handshake"
	"pace/proxy/front/socket"
	"pace/proxy/message"
)

// UnixPrefix is how an address begins that is a socket in the file system, as in unix:/run/pace.sock.
const UnixPrefix = "unix:"

// Listen opens the address, host:port or unix:/path. Its errors say what to do.
func Listen(address string) (net.Listener, error) {
	if path, ok := strings.CutPrefix(address, UnixPrefix); ok {
		return listenUnix(path)
	}
	var plain net.ListenConfig
	plain.SetMultipathTCP(false) // its sockets accept no filter, which draining needs (socket.IgnoreNew)
	l, err := plain.Listen(context.Background(), "tcp", address)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("listen %s: the address is in use; stop the process that uses it, or choose another address: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("listen %s: not permitted; choose a port above 1023, or grant CAP_NET_BIND_SERVICE: %w", address, err)
	case err != nil:
		return nil, fmt.Errorf("listen %s: choose an address of this machine: %w", address, err)
	}
	return l, nil
}

// socketMode is the mode of a socket in the file system: pace's own user and group may connect.
const socketMode = 0o660

// listenUnix opens a socket in the file system. It replaces a socket that nobody listens on any more, as a
// process leaves it that was killed.
func listenUnix(path string) (net.Listener, error) {
	refused := func(remedy string, err error) (net.Listener, error) {
		return nil, fmt.Errorf("listen %s%s: %s: %w", UnixPrefix, path, remedy, err)
	}
	if i, err := os.Lstat(path); err == nil {
		if i.Mode().Type() != fs.ModeSocket {
			return refused("the file is not a socket; choose another path, or remove the file", fs.ErrExist)
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return refused("the socket is in use; stop the process that uses it, or choose another path", syscall.EADDRINUSE)
		}
		if err := os.Remove(path); err != nil {
			return refused("nobody listens on the socket, but it cannot be removed; remove it", err)
		}
	}
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { socket.SetMode(fd, socketMode) }) // it holds from the first moment on
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return refused("choose a path in a folder that exists and that pace may write", err)
	}
	if err := os.Chmod(path, socketMode); err != nil { // the process's umask may have taken something away
		l.Close()
		return refused("choose a path in a folder that pace owns", err)
	}
	return l, nil
}

// Inherit returns the listener of an open socket that another process, such as systemd, keeps open too. The
// caller still has to close f.
func Inherit(f *os.File) (net.Listener, error) {
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("not a socket that accepts connections: %w", err)
	}
	if own, ok := l.(socket.Listener); ok {
		return &inherited{own}, nil
	}
	l.Close()
	return nil, fmt.Errorf("a socket of the kind %s cannot be served; pass one of TCP, or a stream socket in the file system", l.Addr().Network())
}

// inherited is a listener whose socket others have, too. So nothing about the socket may be changed, and what
// is in its queue when it is closed here stays for whoever accepts next.
type inherited struct{ socket.Listener }

// listener makes a Conn of each connection.
type listener struct {
	socket.Listener
	from net.Listener // what was passed to Serve
	s    *Server

	settings   atomic.Pointer[ListenerSettings]     // in force
	terminator atomic.Pointer[handshake.Terminator] // nil: it never had TLS

	retired atomic.Bool // it is gone, but pace goes on
	over    atomic.Bool // nothing is accepted any more, and net/http knows every connection that was
}

// accept waits for a connection that may be served, which g will do.
func (l *listener) accept(g *generation) (net.Conn, error) {
	for {
		nc, err := l.Accept()
		if err != nil {
			l.report(err)
			return nil, err
		}
		c := l.newConn(nc, g)
		if c.admit() {
			l.s.newcomers.Add(1)
			c.Attached = l.s.Attach()
			return c, nil
		}
		l.s.open.leave(c)
		nc.Close()
	}
}

// newConn makes a Conn of a connection that was accepted.
func (l *listener) newConn(nc net.Conn, g *generation) *Conn {
	c := &Conn{server: l.s, listener: l, generation: g}
	c.h1.Late = l.s.isLate
	switch nc := nc.(type) {
	case *net.UnixConn:
		c.Conn = &unixConn{nc}
	default:
		c.Conn = nc.(socket.Conn)
	}
	c.taking.Conn = c.Conn
	scheme, how := message.HTTP, l.settings.Load()
	c.RedirectTo, c.AltSvc = how.RedirectTo, how.altSvc
	if how.TLS != nil {
		scheme = message.HTTPS
		c.tls = l.terminator.Load().Server(&c.taking, l.s.HandshakeDone, c.handshakeFailed)
		c.Conn = c.tls
	}
	c.Peer = message.NewPeer(c.RemoteAddr().(*net.TCPAddr).AddrPort(), scheme)
	c.announcement = how.announcementOf(&c.Peer)
	return c
}

// unixConn is a connection over a socket in the file system. Its client has no address, and counts as one on
// loopback, since it is on the same machine.
type unixConn struct{ *net.UnixConn }

var unixPeer = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0))

// RemoteAddr implements net.Conn.
func (*unixConn) RemoteAddr() net.Addr { return unixPeer }

// report logs why a connection cannot be accepted, most likely because there are no more descriptors. net/http
// tries again.
func (l *listener) report(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || !l.s.accepts.Pass() {
		return
	}
	l.s.Log.LogAttrs(context.Background(), slog.LevelError, "a connection cannot be accepted", slog.Any("error", err))
}

// Retire ends the service of l, which was passed to Serve, while pace goes on. First every connection that
// clients have begun on l is accepted; then l is closed. The connections are told to end: those over HTTP/1 with
// their next response, those over HTTP/2 with GOAWAY. Idle ones are closed when they have been idle for long.
func (s *Server) Retire(l net.Listener) {
	open := s.listeners.remove(l)
	if open == nil {
		return
	}
	open.empty()
	open.retired.Store(true)
	open.Close()
	open.awaitOver()
	s.multiplexed.goodbye(open)
}

// empty returns when every connection that clients have begun is accepted. Closing the listener would reset
// those that are not, although their clients may already have sent a request. An inherited socket is not
// closed, and its queue stays.
func (l *listener) empty() {
	switch own := l.Listener.(type) {
	case *net.TCPListener:
		socket.IgnoreNew(own)
		time.Sleep(handshakes)
	case *net.UnixListener:
		own.SetUnlinkOnClose(false) // somebody else may have made a socket of that name by then
		os.Remove(own.Addr().String())
	default:
		return
	}
	for until := time.Now().Add(emptying); socket.Queued(l.Listener) && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
}

// awaitOver returns when net/http knows every connection that was accepted. A connection that it does not know
// yet is counted nowhere, and would be reset at the end.
func (l *listener) awaitOver() {
	for until := time.Now().Add(hearing); !l.over.Load() && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
}

// listeners are those over TCP and unix sockets. The zero value is ready. Safe for concurrent use.
type listeners struct{ served[*listener] }

// remove returns the listener that Serve made from l, nil if there is none.
func (ls *listeners) remove(l net.Listener) *listener {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for i, open := range ls.list {
		if open.from == l {
			ls.list = slices.Delete(ls.list, i, i+1)
			return open
		}
	}
	return nil
}
