package front

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// The error of an address that cannot be opened says what to do.
func TestListen_SaysWhatToDo(t *testing.T) {
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	folder := t.TempDir()
	used := UnixPrefix + filepath.Join(folder, "used.sock")
	u, err := Listen(used)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		l.Addr().String():  "the address is in use; stop the process that uses it",
		"192.0.2.1:80":     "choose an address of this machine",
		used:               "the socket is in use; stop the process that uses it",
		UnixPrefix + file:  "the file is not a socket; choose another path, or remove the file",
		"unix:/nowhere/at": "choose a path in a folder that exists and that pace may write",
	} {
		if _, err := Listen(address); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), address) {
			t.Errorf("%s: got %v, want %q", address, err, want)
		}
	}
	if _, err := os.Stat(file); err != nil {
		t.Errorf("the file that is not a socket: %v", err)
	}
}

// A socket that a killed process left behind is replaced. pace's own user and group may connect, whatever the
// umask is.
func TestListen_ReplacesASocketThatNobodyListensOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pace.sock")
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()
	l, err := Listen(UnixPrefix + path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if i, err := os.Stat(path); err != nil || i.Mode() != os.ModeSocket|socketMode {
		t.Errorf("got %v, %v; want a socket that the owner and the group may use", i.Mode(), err)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// A client on a socket in the file system counts as one on loopback.
func TestServe_SocketInTheFileSystem(t *testing.T) {
	s, _ := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	path := filepath.Join(t.TempDir(), "pace.sock")
	serveToo(t, s, UnixPrefix+path)
	peer := make(chan string, 1)
	s.Handler.(*handler).set(func(_ http.ResponseWriter, r *http.Request) {
		peer <- ConnOf(r.Context()).Peer.Text + " " + r.RemoteAddr
	})
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := ask(t, c, 10); got != 200 {
		t.Errorf("got %d", got)
	}
	if got := <-peer; got != "127.0.0.1 127.0.0.1:0" {
		t.Errorf("the peer is %s, want 127.0.0.1 127.0.0.1:0", got)
	}
}

// serveToo has s serve another address, until s drains.
func serveToo(t *testing.T, s *Server, address string) net.Listener {
	t.Helper()
	l, err := Listen(address)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l, ListenerSettings{}) }()
	t.Cleanup(func() { // runs before the one of serving, which drains
		s.Retire(l)
		if err := <-served; err != nil {
			t.Errorf("serving %s: %v", address, err)
		}
	})
	return l
}

// A connection of a listener that is gone is served once more, and told to end; the other listeners go on.
func TestRetire_EndsTheConnectionsOfOneListener(t *testing.T) {
	for name, address := range map[string]func() string{
		"TCP":                         func() string { return "127.0.0.1:0" },
		"a socket in the file system": func() string { return UnixPrefix + filepath.Join(t.TempDir(), "pace.sock") },
	} {
		t.Run(name, func(t *testing.T) {
			s, stays := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
			l := serveToo(t, s, address())
			c, err := net.Dial(l.Addr().Network(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			other := dialled(t, stays)
			ask(t, c, 10)
			ask(t, other, 10)
			s.Retire(l)
			if c, err := net.Dial(l.Addr().Network(), l.Addr().String()); err == nil {
				c.Close()
				t.Error("a connection began on a listener that is gone")
			}
			for what, c := range map[string]struct {
				net.Conn
				close bool
			}{"of the listener that is gone": {c, true}, "of the one that stays": {other, false}} {
				io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(c), nil)
				if err != nil || resp.StatusCode != 200 || resp.Close != c.close {
					t.Errorf("the connection %s: got %+v, %v", what, resp, err)
				}
			}
			if got := ask(t, dialled(t, stays), 10); got != 200 {
				t.Errorf("a new connection of the one that stays: got %d", got)
			}
		})
	}
}

// Every connection that began before its listener was gone is served.
func TestRetire_LosesNoConnection(t *testing.T) {
	s, _ := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	for _, kind := range []string{"tcp", "unix"} {
		for range 5 {
			address := "127.0.0.1:0"
			if kind == "unix" {
				address = UnixPrefix + filepath.Join(t.TempDir(), "pace.sock")
			}
			l := serveToo(t, s, address)
			var clients sync.WaitGroup
			for range 8 {
				clients.Go(func() {
					for {
						c, err := net.DialTimeout(l.Addr().Network(), l.Addr().String(), 200*time.Millisecond)
						if err != nil { // it has not begun
							return
						}
						c.SetDeadline(time.Now().Add(10 * time.Second))
						io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
						if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
							t.Errorf("%s: got %q, %v", kind, b, err)
						}
						c.Close()
					}
				})
			}
			time.Sleep(5 * time.Millisecond)
			s.Retire(l)
			clients.Wait()
		}
	}
}

// What waits on a socket that others have too is not lost when this process drains: the next one accepts it.
func TestInherit_LeavesTheQueueToTheNextProcess(t *testing.T) {
	systemd, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	inherit := func() net.Listener {
		f, err := systemd.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l, err := Inherit(f)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first, _ := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	served := make(chan error, 1)
	l := inherit()
	go func() { served <- first.Serve(l, ListenerSettings{}) }()
	ask(t, dialled(t, systemd.Addr().String()), 10)
	if err := first.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Errorf("serving: %v", err)
	}
	waits := dialled(t, systemd.Addr().String()) // nobody accepts it now
	next, _ := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	go next.Serve(inherit(), ListenerSettings{})
	if got := ask(t, waits, 10); got != 200 {
		t.Errorf("the connection that waited: got %d", got)
	}
}

func TestInherit_RefusesWhatCannotBeServed(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	if _, err := Inherit(r); err == nil || !strings.Contains(err.Error(), "not a socket that accepts connections") {
		t.Errorf("a pipe: got %v", err)
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	f, err := packets.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := Inherit(f); err == nil {
		t.Error("a socket for packets is served")
	}
}

// A listener that comes after Drain is closed, and not served.
func TestServe_AfterDrain(t *testing.T) {
	s, _ := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	if err := s.Drain(context.Background()); err != nil {
		t.Fatal(err)
	}
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l, ListenerSettings{}); err != nil {
		t.Errorf("got %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is open: %v", err)
	}
}
