package proxy

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"testing"

	"pace/proxy/action"
	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/proxy/transport"
	"pace/proxy/upstream"
)

// responder sends the same bytes for each request on a connection, and allocates nothing for it.
func responder(c net.Conn, r *bufio.Reader) {
	response := []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n{\"hello\":\"you\"}")
	for {
		for { // a header, without a body
			line, err := r.ReadSlice('\n')
			if err != nil {
				return
			}
			if len(line) <= 2 {
				break
			}
		}
		if _, err := c.Write(response); err != nil {
			return
		}
	}
}

// nobody is a client that takes everything.
type nobody struct{ header http.Header }

func (n *nobody) Header() http.Header         { return n.header }
func (n *nobody) WriteHeader(int)             {}
func (n *nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n *nobody) FlushError() error           { return nil }
func (n *nobody) Flush()                      {}

// smallRequest returns a request as net/http would hand it to pace's handler, without its connection.
func smallRequest(ctx context.Context, h *Handler) *http.Request {
	c := &front.Conn{Peer: message.NewPeer(netip.MustParseAddrPort("127.0.0.1:4711"), message.HTTP), Attached: new(transport.Pin)}
	r, _ := http.NewRequestWithContext(front.WithConn(ctx, c), "GET", "/hello?name=you", nil)
	r.Host, r.RequestURI, r.RemoteAddr = "example.com", "/hello?name=you", "127.0.0.1:4711"
	r.Header.Set("User-Agent", "test/1")
	r.Header.Set("Accept", "*/*")
	return r
}

// budget is what a small request may allocate from otelhttp inwards; otelhttp alone takes some 30,
// the fields of the answer and the request's ids most of the rest. A request costs 37 µs of CPU
// in all, and each allocation 0.1 to 0.2 of them.
const budget = 43

func TestHandler_AllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	for _, routes := range []int{1, 100} {
		p := start(t, withRoutes(routes), rawOrigin(t, responder))
		h, r := p.server.Handler, smallRequest(t.Context(), p.handler)
		got := testing.AllocsPerRun(500, func() { h.ServeHTTP(&nobody{http.Header{}}, r) })
		if got > budget {
			t.Errorf("%.0f allocations a small request through %d routes, want at most %d", got, routes, budget)
		}
		t.Logf("%.0f allocations a small request through %d routes", got, routes)
	}
}

// withRoutes changes the one route into n, of which one takes GET /hello.
func withRoutes(n int) func(*setup) {
	return func(s *setup) {
		if n == 1 {
			return
		}
		up := upstream.New(s.pool, nil)
		s.upstream = up
		for i := range n - 1 {
			s.Routes = append(s.Routes, Route{Entry: route.Entry{Match: fmt.Sprintf("/services/%d/{rest...}", i)}, Action: action.To(up)})
		}
		s.Routes = append(s.Routes, Route{Entry: route.Entry{Match: "GET /{name}"}, Action: action.To(up)})
	}
}

// BenchmarkHandler compares pace with everything on, from otelhttp to the log, with a bare
// httputil.ReverseProxy, one request at a time, net/http's server left out.
func BenchmarkHandler(b *testing.B) {
	run := func(b *testing.B, h http.Handler, r *http.Request) {
		b.ReportAllocs()
		for b.Loop() {
			h.ServeHTTP(&nobody{http.Header{}}, r)
		}
	}
	b.Run("impl=pace", func(b *testing.B) {
		p := start(b, nil, rawOrigin(b, responder))
		run(b, p.server.Handler, smallRequest(b.Context(), p.handler))
	})
	b.Run("impl=pace, routes=100", func(b *testing.B) {
		p := start(b, withRoutes(100), rawOrigin(b, responder))
		run(b, p.server.Handler, smallRequest(b.Context(), p.handler))
	})
	b.Run("impl=pace, overload", func(b *testing.B) {
		p := start(b, func(s *setup) { s.pool.MaxRequests = 1 }, rawOrigin(b, responder))
		p.upstream.First(&upstream.Request{}) // and never ends
		run(b, p.server.Handler, smallRequest(b.Context(), p.handler))
	})
	b.Run("impl=ReverseProxy", func(b *testing.B) {
		target := &url.URL{Scheme: "http", Host: rawOrigin(b, responder)}
		p := start(b, nil, target.Host)
		run(b, &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }}, smallRequest(b.Context(), p.handler))
	})
}

// overloadBudget is what a request may allocate for which no backend has room: the fields and the text of pace's own
// response are made for it. In time it costs less than half of one that is served, so an overload does not make itself
// worse.
const overloadBudget = 50

func TestOverload_AllocatesLittle(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates, too")
	}
	p := start(t, func(s *setup) { s.pool.MaxRequests = 1 }, rawOrigin(t, responder))
	p.upstream.First(&upstream.Request{}) // and never ends
	h, r := p.server.Handler, smallRequest(t.Context(), p.handler)
	got := testing.AllocsPerRun(500, func() { h.ServeHTTP(&nobody{http.Header{}}, r) })
	if got > overloadBudget {
		t.Errorf("%.0f allocations a request that is rejected, want at most %d", got, overloadBudget)
	}
	t.Logf("%.0f allocations a request that is rejected", got)
}
