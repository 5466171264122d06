package http2

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// backend serves h over HTTP/2 in clear, by net/http.
func backend(t testing.TB, h http.HandlerFunc) dial.Address {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return dial.Address{Network: "tcp", Addr: s.Listener.Addr().String()}
}

func pool(t testing.TB, a dial.Address, o Options) *Pool {
	p := NewPool(a, o)
	t.Cleanup(p.Close)
	return p
}

func get(target string) *transport.Request {
	return &transport.Request{Method: "GET", Target: target, Host: "example.com"}
}

func post(body string) *transport.Request {
	return &transport.Request{Method: "POST", Target: "/", Host: "example.com", Body: strings.NewReader(body), ContentLength: int64(len(body))}
}

func readAll(r *transport.Response) (string, error) {
	var b strings.Builder
	for {
		p, err := r.Next()
		b.Write(p)
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return b.String(), err
		}
	}
}

// fetch makes one exchange.
func fetch(t testing.TB, p *Pool, req *transport.Request) (transport.Head, string) {
	t.Helper()
	var resp transport.Response
	defer resp.Close()
	if err := p.Do(t.Context(), req, &resp); err != nil {
		t.Fatalf("%+v", err)
	}
	body, err := readAll(&resp)
	if err != nil {
		t.Fatal(err)
	}
	resp.Close()
	return resp.Head, body
}

func TestDo_CarriesRequestAndResponse(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s %v %d", r.Method, r.RequestURI, r.Host, body, err, r.ContentLength)
	}), Options{})
	for _, tt := range []struct {
		req  *transport.Request
		want string
	}{
		{get("/a?b"), "GET /a?b example.com  <nil> 0"},
		{get("//a//b"), "GET //a//b example.com  <nil> 0"},
		{post("hello"), "POST / example.com hello <nil> 5"},
		{&transport.Request{Method: "PUT", Target: "/", Host: "example.com", Body: strings.NewReader("hello"), ContentLength: -1}, "PUT / example.com hello <nil> -1"},
	} {
		if h, body := fetch(t, p, tt.req); h.Status != 200 || h.Version != "2" || body != tt.want {
			t.Errorf("got %d %s %q, want %q", h.Status, h.Version, body, tt.want)
		}
	}
}

func TestDo_UsesAResponseAgain(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }), Options{})
	var resp transport.Response
	for i := range 10 {
		body := strings.Repeat("x", i%2*5)
		if err := p.Do(t.Context(), post(body), &resp); err != nil {
			t.Fatalf("%d: %+v", i, err)
		}
		if got, err := readAll(&resp); got != body || err != nil {
			t.Errorf("%d: %q, %v", i, got, err)
		}
		resp.Close()
	}
	if p.Open() != 1 || p.Idle() != 1 {
		t.Errorf("%d connections, %d idle", p.Open(), p.Idle())
	}
}
