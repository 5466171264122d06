package front

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"

	"pace/proxy/message"
)

// Listen opens the address. Its errors say what to do.
func Listen(address string) (net.Listener, error) {
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

// listener makes a Conn of each connection.
type listener struct {
	*net.TCPListener
	s    *Server
	over atomic.Bool // nothing is accepted any more, and net/http knows every connection that was
}

// accept waits for a connection, which g will serve.
func (l *listener) accept(g *generation) (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		l.report(err)
		return nil, err
	}
	l.s.newcomers.Add(1)
	peer := message.NewPeer(c.RemoteAddr().(*net.TCPAddr).AddrPort())
	return &Conn{TCPConn: c, Peer: peer, Attached: l.s.Attach(), server: l.s, generation: g}, nil
}

// report logs why a connection cannot be accepted, most likely because there are no more descriptors. net/http
// tries again.
func (l *listener) report(err error) {
	if errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) || !l.s.accepts.Pass() {
		return
	}
	l.s.Log.LogAttrs(context.Background(), slog.LevelError, "a connection cannot be accepted", slog.Any("error", err))
}
