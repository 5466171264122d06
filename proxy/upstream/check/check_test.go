package check

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/transport"
)

// backend is one in memory. serve has each connection, one at a time or several.
type backend struct {
	serve func(net.Conn)
	fails error          // of a dial, if it is set
	kind  transport.Kind // of fails

	mu       sync.Mutex
	accepted []time.Time // guarded by mu
}

func (b *backend) dial(context.Context) (net.Conn, transport.Kind, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.accepted = append(b.accepted, time.Now())
	if b.fails != nil {
		return nil, b.kind, b.fails
	}
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		b.serve(theirs)
	}()
	return ours, 0, nil
}

// started starts a runner that is stopped when the test ends, and returns its results.
func started(t *testing.T, o Options, b *backend) <-chan Result {
	t.Helper()
	results := make(chan Result, 1000)
	r := Start(o, Backend{Authority: "backend:80", Dial: b.dial}, func(result Result) { results <- result })
	t.Cleanup(r.Stop)
	return results
}

func httpOptions(t *testing.T) Options {
	t.Helper()
	ok, err := ParseStatuses("200-399")
	if err != nil {
		t.Fatal(err)
	}
	return Options{Type: "http", Path: "/healthz?deep=1", Statuses: ok, Interval: 5 * time.Second, Timeout: time.Second}
}

// responds reads a request, writes a response, and lets the connection be until the other side closes it.
func responds(response string) func(net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err != nil {
			return
		}
		io.WriteString(c, response)
		io.Copy(io.Discard, c)
	}
}

// hangs reads, and never responds.
func hangs(c net.Conn) { io.Copy(io.Discard, c) }

func TestHTTP_PassesOrSaysWhyNot(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name     string
		serve    func(net.Conn)
		statuses string
		status   int
		why      string
	}{
		{"a status of the range passes", responds("HTTP/1.1 399 Odd\r\nContent-Length: 2\r\n\r\nok"), "200-399", 399, ""},
		{"another status fails", responds("HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"), "200-399", 503, "status 503, expected 200-399"},
		{"a redirect is not followed", responds("HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n"), "200", 302, "status 302, expected 200"},
		{"an interim response is not the response", responds("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok + "Content-Length: 0\r\n\r\n"), "200", 200, ""},
		{"a chunked body passes", responds(ok + "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"), "200", 200, ""},
		{"a body without end passes", endless, "200", 200, ""},
		{"no response fails", hangs, "200", 0, "no whole response within 1s"},
		{"a header that does not end fails", responds(ok + "Content-"), "200", 0, "no whole response within 1s"},
		{"a body that does not end in time fails", responds(ok + "Content-Length: 2\r\n\r\nh"), "200", 200, "no whole response within 1s"},
		{"a body that is cut off fails", func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, ok+"Content-Length: 2\r\n\r\nh")
		}, "200", 200, "EOF: the backend closed the connection"},
		{"a connection that is closed fails", func(net.Conn) {}, "200", 0, "EOF: the backend closed the connection"},
		{"what is not HTTP fails, and is not quoted", responds("220 mail.example ESMTP\r\n"), "200", 0, "malformed response: not HTTP/1"},
		{"a protocol that nobody asked for fails", responds("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), "200-599", 0, "malformed response: switch to a protocol that was not asked for"},
		{"a header over the limit fails", responds(ok + "X: " + strings.Repeat("x", 70<<10) + "\r\n\r\n"), "200", 0, "malformed response: header is too large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				o := httpOptions(t)
				var err error
				if o.Statuses, err = ParseStatuses(tt.statuses); err != nil {
					t.Fatal(err)
				}
				got := <-started(t, o, &backend{serve: tt.serve})
				if got.Status != tt.status || got.Error != tt.why || got.Passed != (tt.why == "") || got.At != time.Now() {
					t.Errorf("got %+v, want status %d and %q", got, tt.status, tt.why)
				}
			})
		})
	}
}

// endless responds with a body that goes on.
func endless(c net.Conn) {
	http.ReadRequest(bufio.NewReader(c))
	io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
	for {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			return
		}
	}
}

// A check says who it is, and its Host field is the backend's, or the one of the options.
func TestHTTP_SendsOneRequest(t *testing.T) {
	for host, want := range map[string]string{"": "backend:80", "app.example": "app.example"} {
		synctest.Test(t, func(t *testing.T) {
			o := httpOptions(t)
			o.Host = host
			heads := make(chan string, 10)
			<-started(t, o, &backend{serve: func(c net.Conn) {
				b := make([]byte, 4096)
				n, _ := c.Read(b)
				heads <- string(b[:n])
				io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
				n, err := c.Read(b)
				if n > 0 || err != io.EOF {
					t.Errorf("after its response came %q, %v", b[:n], err)
				}
			}})
			want := "GET /healthz?deep=1 HTTP/1.1\r\nHost: " + want + "\r\nUser-Agent: pace-health-check\r\nAccept: */*\r\n\r\n"
			if got := <-heads; got != want {
				t.Errorf("sent %q, want %q", got, want)
			}
		})
	}
}

func TestTCP_PassesIfItConnects(t *testing.T) {
	for _, tt := range []struct {
		name string
		b    *backend
		why  string
	}{
		{"a connection passes", &backend{serve: hangs}, ""},
		{"a backend that refuses fails", &backend{fails: syscall.ECONNREFUSED, kind: transport.ConnectFailed}, "connection refused"},
		{"a name that does not resolve fails", &backend{fails: &net.DNSError{Err: "no such host", Name: "app", IsNotFound: true}, kind: transport.DNSFailed}, "lookup app: no such host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := <-started(t, Options{Type: "tcp", Interval: time.Second, Timeout: time.Second}, tt.b)
				if got.Error != tt.why || got.Passed != (tt.why == "") || got.Status != 0 {
					t.Errorf("got %+v, want %q", got, tt.why)
				}
			})
		})
	}
}

func TestCheck_IsTimed(t *testing.T) {
	for _, name := range Types() {
		synctest.Test(t, func(t *testing.T) {
			o := httpOptions(t)
			o.Type = name
			r := &Runner{o: o, backend: Backend{Authority: "backend:80", Dial: func(ctx context.Context) (net.Conn, transport.Kind, error) {
				<-ctx.Done()
				return nil, transport.ConnectTimeout, ctx.Err()
			}}}
			got, ok := r.once(t.Context())
			if !ok || got.Error != "no connection within 1s" || got.Duration != time.Second {
				t.Errorf("%s: got %+v, %v", name, got, ok)
			}
		})
	}
}

// What pace or its machine caused says nothing about the backend.
func TestCheck_ThatPaceFailsHasNoResult(t *testing.T) {
	for _, tt := range []struct {
		name string
		dial func(context.Context) (net.Conn, transport.Kind, error)
	}{
		{"no descriptor is left", func(context.Context) (net.Conn, transport.Kind, error) {
			return nil, transport.Exhausted, syscall.EMFILE
		}},
		{"the process was stopped", func(context.Context) (net.Conn, transport.Kind, error) {
			time.Sleep(time.Minute)
			return nil, transport.ConnectTimeout, errors.New("timeout")
		}},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := &Runner{o: httpOptions(t), backend: Backend{Authority: "backend:80", Dial: tt.dial}}
			if got, ok := r.once(t.Context()); ok {
				t.Errorf("%s: got %+v", tt.name, got)
			}
		})
	}
}

// served serves HTTP/2 without TLS.
func served(h http.HandlerFunc) func(net.Conn) {
	return func(c net.Conn) {
		s := &http.Server{Handler: h, Protocols: new(http.Protocols)}
		s.Protocols.SetUnencryptedHTTP2(true)
		l := &oneConn{conns: make(chan net.Conn, 1), closed: make(chan struct{})}
		l.conns <- &closing{Conn: c, closed: func() { l.Close() }}
		s.Serve(l)
	}
}

// oneConn is a listener that accepts one connection.
type oneConn struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *oneConn) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.TCPAddr{} }

type closing struct {
	net.Conn
	closed func()
}

func (c *closing) Close() error {
	defer c.closed()
	return c.Conn.Close()
}

// framed is a gRPC message without compression.
func framed(message string) string {
	return "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(message)))) + message
}

// says responds with a body, and a trailer with a code.
func says(body, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, body)
		w.Header().Set("Grpc-Status", code)
	}
}

func TestGRPC_PassesOrSaysWhyNot(t *testing.T) {
	for _, tt := range []struct {
		name  string
		serve func(net.Conn)
		why   string
	}{
		{"SERVING passes", served(says(framed("\x08\x01"), "0")), ""},
		{"NOT_SERVING fails", served(says(framed("\x08\x02"), "0")), "the backend says NOT_SERVING"},
		{"a message without a status fails", served(says(framed(""), "0")), "the backend says UNKNOWN"},
		{"a status from the future fails", served(says(framed("\x08\x09"), "0")), "the backend says 9"},
		{"a backend that does not know the service fails", served(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Grpc-Status", "12")
		}), "grpc-status 12 (Unimplemented)"},
		{"a code that is none fails", served(says(framed("\x08\x01"), "zero")), "invalid response"},
		{"a response without a code fails", served(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, framed("\x08\x01"))
		}), "invalid response"},
		{"a compressed message fails", served(says("\x01\x00\x00\x00\x02\x08\x01", "0")), "invalid response"},
		{"a message of another length fails", served(says("\x00\x00\x00\x00\x03\x08\x01", "0")), "invalid response"},
		{"a message that is not protobuf fails", served(says(framed("\x08"), "0")), "invalid response"},
		{"a message over the limit fails", served(says(framed("\x08\x01"+strings.Repeat("\x10\x00", 1000)), "0")), "invalid response"},
		{"another status of HTTP fails", served(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }), "status 404, expected 200 of gRPC"},
		{"a backend that speaks HTTP/1 fails", responds("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"), "the backend does not speak HTTP/2"},
		{"no response fails", hangs, "no whole response within 1s"},
		{"a body that does not end in time fails", served(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, "\x00")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}), "no whole response within 1s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := <-started(t, Options{Type: "grpc", Interval: time.Second, Timeout: time.Second}, &backend{serve: tt.serve})
				if got.Error != tt.why || got.Passed != (tt.why == "") || got.Status != 0 {
					t.Errorf("got %+v, want %q", got, tt.why)
				}
			})
		})
	}
}

func TestGRPC_SendsOneCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := make(chan string, 10)
		<-started(t, Options{Type: "grpc", Interval: time.Second, Timeout: time.Second}, &backend{serve: served(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			asked <- fmt.Sprintln(r.Method, r.RequestURI, r.Host, r.Header.Get("Content-Type"), r.Header.Get("Te"), r.UserAgent(), body, err)
			says(framed("\x08\x01"), "0")(w, r)
		})})
		want := "POST /grpc.health.v1.Health/Check backend:80 application/grpc trailers pace-health-check [0 0 0 0 0] <nil>\n"
		if got := <-asked; got != want {
			t.Errorf("asked %q, want %q", got, want)
		}
	})
}
