package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// serve starts a net/http server as the backend and returns a pool of connections to it.
func serve(t testing.TB, o Options, h http.HandlerFunc) *Pool {
	s := httptest.NewServer(h)
	p := NewPool(at(s.Listener.Addr().String()), o)
	t.Cleanup(func() { p.Close(); s.Close() })
	return p
}

// script starts a backend that, on each connection, runs f, and closes it then.
func script(t testing.TB, o Options, f func(c net.Conn, r *bufio.Reader)) *Pool {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); f(c, bufio.NewReader(c)) }()
		}
	}()
	p := NewPool(at(l.Addr().String()), o)
	t.Cleanup(func() { p.Close(); l.Close() })
	return p
}

// at is a TCP address.
func at(addr string) dial.Address { return dial.Address{Network: "tcp", Addr: addr} }

// respond is a script: it reads one request after the other and sends each the next text.
func respond(texts ...string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for _, text := range texts {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.Copy(io.Discard, req.Body)
			io.WriteString(c, text)
		}
	}
}

func get(target string) *transport.Request {
	return &transport.Request{Method: "GET", Target: target, Host: "backend"}
}

// readAll reads the body to its end.
func readAll(r *Response) (string, error) {
	var b strings.Builder
	for {
		p, err := r.Next()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
		b.Write(p)
	}
}

// fetch does one whole exchange that must succeed.
func fetch(t testing.TB, p *Pool, req *transport.Request) (*Response, string) {
	t.Helper()
	var resp Response
	if err := p.Do(context.Background(), req, &resp); err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.Target, err)
	}
	body, err := readAll(&resp)
	if err != nil {
		t.Fatalf("%s %s: body: %v after %q", req.Method, req.Target, err, body)
	}
	resp.Close()
	return &resp, body
}

func field(fields []transport.Field, name string) string {
	for _, f := range fields {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	fmt.Fprintf(w, "%s %s %s %d %q %s %q", r.Method, r.RequestURI, r.Host, r.ContentLength, r.TransferEncoding, body, r.Trailer)
}

func TestDo_SendsWhatWasAsked(t *testing.T) {
	p := serve(t, Options{}, echo)
	long := strings.Repeat("0123456789", 20_000)
	for name, tt := range map[string]struct {
		req  transport.Request
		want string
	}{
		"a get has no body":                  {transport.Request{Method: "GET", Target: "/a?b"}, `GET /a?b h 0 [] `},
		"a post without body says so":        {transport.Request{Method: "POST", Target: "/"}, `POST / h 0 [] `},
		"a body with its length":             {transport.Request{Method: "POST", Target: "/", Body: strings.NewReader("hello"), ContentLength: 5}, `POST / h 5 [] hello`},
		"an empty body with its length":      {transport.Request{Method: "PUT", Target: "/", Body: strings.NewReader(""), ContentLength: 0}, `PUT / h 0 [] `},
		"an unknown length is chunked":       {transport.Request{Method: "POST", Target: "/", Body: strings.NewReader("hello"), ContentLength: -1}, `POST / h -1 ["chunked"] hello`},
		"an empty chunked body":              {transport.Request{Method: "POST", Target: "/", Body: strings.NewReader(""), ContentLength: -1}, `POST / h -1 ["chunked"] `},
		"a long body with its length":        {transport.Request{Method: "POST", Target: "/", Body: strings.NewReader(long), ContentLength: int64(len(long))}, `POST / h 200000 [] ` + long},
		"a long chunked body":                {transport.Request{Method: "POST", Target: "/", Body: strings.NewReader(long), ContentLength: -1}, `POST / h -1 ["chunked"] ` + long},
		"a body in single bytes":             {transport.Request{Method: "POST", Target: "/", Body: iotestOneByte{strings.NewReader("hello")}, ContentLength: -1}, `POST / h -1 ["chunked"] hello`},
		"a body that waits for 100":          {transport.Request{Method: "POST", Target: "/", Expect: true, Body: strings.NewReader("hello"), ContentLength: 5}, `POST / h 5 [] hello`},
		"a body behind a long head":          {transport.Request{Method: "POST", Target: "/", Fields: []byte("X: " + long[:9000] + "\r\n"), Body: strings.NewReader("hello"), ContentLength: -1}, `POST / h -1 ["chunked"] hello`},
		"a trailer that was announced comes": {transport.Request{Method: "POST", Target: "/", AnnouncedTrailer: "Sum", Trailer: func() http.Header { return http.Header{"Sum": {"1"}} }, Body: strings.NewReader("x"), ContentLength: -1}, `POST / h -1 ["chunked"] x map["Sum":["1"]]`},
	} {
		t.Run(name, func(t *testing.T) {
			tt.req.Host = "h"
			for i := range 2 { // the second on the same connection
				if s, ok := tt.req.Body.(io.Seeker); ok {
					s.Seek(0, io.SeekStart)
				} else if tt.req.Body != nil && i > 0 {
					break
				}
				_, got := fetch(t, p, &tt.req)
				if !strings.HasPrefix(got, tt.want) {
					t.Fatalf("round %d: backend saw %.200q, want %.200q", i, got, tt.want)
				}
			}
			if p.Idle() != 1 {
				t.Errorf("%d idle connections, want 1", p.Idle())
			}
		})
	}
}

type iotestOneByte struct{ r io.Reader }

func (o iotestOneByte) Read(p []byte) (int, error) { return o.r.Read(p[:1]) }

func TestDo_ReadsEveryFraming(t *testing.T) {
	long := strings.Repeat("x", 100_000)
	const ok = "HTTP/1.1 200 OK\r\n"
	for name, tt := range map[string]struct {
		method, raw, body string
		idle              int // connections kept afterwards
	}{
		"with its length":               {"GET", ok + "Content-Length: 5\r\n\r\nhello", "hello", 1},
		"the same length twice":         {"GET", ok + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "hello", 1},
		"long, with its length":         {"GET", ok + "Content-Length: 100000\r\n\r\n" + long, long, 1},
		"empty":                         {"GET", ok + "Content-Length: 0\r\n\r\n", "", 1},
		"chunked":                       {"GET", ok + "transfer-encoding: Chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\n\r\n", "hello", 1},
		"blanks after a size":           {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n3  \r\nhel\r\n2\t \r\nlo\r\n0 \r\n\r\n", "hello", 1},
		"blanks before an extension":    {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n3 ;a=b\r\nhel\r\n2 \t; c = \"d\" ; e\r\nlo\r\n0\t;f\r\n\r\n", "hello", 1},
		"chunked, empty":                {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "", 1},
		"one long chunk":                {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + long + "\r\n0\r\n\r\n", long, 1},
		"to the end of the connection":  {"GET", ok + "\r\n" + long, long, 0},
		"of HTTP/1.0":                   {"GET", "HTTP/1.0 200 OK\r\n\r\nhello", "hello", 0},
		"of HTTP/1.0 with its length":   {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", 0},
		"of HTTP/1.0 that stays":        {"GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\nhello", "hello", 1},
		"the backend wants to close":    {"GET", ok + "Content-Length: 5\r\nConnection: foo, Close\r\n\r\nhello", "hello", 0},
		"none after HEAD":               {"HEAD", ok + "Content-Length: 5\r\n\r\n", "", 1},
		"none after chunked HEAD":       {"HEAD", ok + "Transfer-Encoding: chunked\r\n\r\n", "", 1},
		"none with 204":                 {"GET", "HTTP/1.1 204 No Content\r\n\r\n", "", 1},
		"204 that announces a body":     {"GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n", "", 0},
		"none with 304":                 {"GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "", 1},
		"without reason phrase":         {"GET", "HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello", 1},
		"lines that end in LF":          {"GET", "HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "hello", 1},
		"garbage after the body":        {"GET", ok + "Content-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n", "hello", 0},
		"garbage after the chunks":      {"GET", ok + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nx", "", 0},
		"interim responses before":      {"GET", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "hello", 1},
		"interim response with framing": {"GET", "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\n" + ok + "Content-Length: 5\r\n\r\nhello", "hello", 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				respond(tt.raw)(c, r)
				if tt.idle > 0 { // stay until the pool closes
					r.ReadByte()
				}
			})
			resp, got := fetch(t, p, &transport.Request{Method: tt.method, Target: "/", Host: "h"})
			if got != tt.body {
				t.Errorf("body %.100q, want %.100q", got, tt.body)
			}
			if p.Idle() != tt.idle {
				t.Errorf("%d idle connections, want %d", p.Idle(), tt.idle)
			}
			if resp.Status/100 != 2 && resp.Status != 304 {
				t.Errorf("status %d", resp.Status)
			}
		})
	}
}

func TestDo_UpgradeHandsOverTheConnection(t *testing.T) {
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Connection") != "Upgrade" {
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: WebSocket\r\n\r\nfirst")
		io.Copy(c, r)
	})
	req := get("/")
	req.Upgrade = "websocket"
	var resp Response
	ctx, cancel := context.WithCancel(t.Context())
	if err := p.Do(ctx, req, &resp); err != nil {
		t.Fatal(err)
	}
	c, rest := resp.Hijack()
	resp.Close()
	cancel()
	defer c.Close()
	if resp.Status != 101 || string(rest) != "first" {
		t.Errorf("status %d and rest %q, want 101 and first", resp.Status, rest)
	}
	var got [4]byte
	io.WriteString(c, "echo")
	if _, err := io.ReadFull(c, got[:]); err != nil || string(got[:]) != "echo" {
		t.Errorf("stream returned %q, %v", got, err)
	}
}

func TestDo_TrailerComesAfterTheBody(t *testing.T) {
	p := script(t, Options{}, respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n1\r\nx\r\n0\r\nsum: 1\r\nOther:  2 \r\n\r\n"))
	resp, body := fetch(t, p, get("/"))
	if body != "x" || len(resp.Trailer) != 2 || field(resp.Trailer, "Sum") != "1" || field(resp.Trailer, "Other") != "2" {
		t.Errorf("body %q, trailer %q", body, resp.Trailer)
	}
}

func wantKind(t *testing.T, err error, k transport.Kind) *transport.Error {
	t.Helper()
	e, ok := errors.AsType[*transport.Error](err)
	if !ok || e.Kind != k {
		t.Fatalf("error %v, want kind %v", err, k)
	}
	return e
}
