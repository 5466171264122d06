package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
)

// What the exchange writes itself a client cannot write beside it. What that is, is asked of the
// exchange: each request here makes it write all that it can.
func TestFieldsOfTheExchangeStayBehind(t *testing.T) {
	t.Parallel()
	heads := make(chan textproto.MIMEHeader, 1)
	pool := http1.NewPool(dial.Address{Network: "tcp", Addr: rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		head, err := readHead(r)
		if err != nil {
			return
		}
		heads <- head
		io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, r)
	})}, http1.Options{ResponseTimeout: 10 * time.Second})
	t.Cleanup(pool.Close)
	h, seen := newHandler(t, nil), map[string]bool{}
	for _, length := range []int64{-1, 5} {
		var resp transport.Response
		if err := pool.Do(t.Context(), &transport.Request{
			Method: "POST", Target: "/", Host: "x", Body: strings.NewReader("hello"), ContentLength: length,
			Trailer: func() http.Header { return nil }, AnnouncedTrailer: "X-Sum",
			Upgrade: "echo", TrailersOK: true, Expect: true,
		}, &resp); err != nil {
			t.Fatal(err)
		}
		resp.Close()
		for name := range <-heads {
			seen[name] = true
			r := httptest.NewRequest("POST", "/", nil)
			r.Header[name] = []string{"the client's"}
			if lines := h.outgoing("192.0.2.1:1", r); strings.Contains(lines, "the client's") {
				t.Errorf("the client's %s went on: %q", name, lines)
			}
		}
	}
	for _, name := range []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Te", "Trailer"} {
		if !seen[name] {
			t.Errorf("the exchange was to write %s, and did not", name)
		}
	}
}

// readHead reads a request's header with all its lines; net/http would take some away.
func readHead(r *bufio.Reader) (textproto.MIMEHeader, error) {
	text := textproto.NewReader(r)
	if _, err := text.ReadLine(); err != nil {
		return nil, err
	}
	return text.ReadMIMEHeader()
}

// A request by HTTP/2 may name its host twice. One of them goes on; where they differ, none.
func TestHTTP2_HasOneHost(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fields []string
		want   string // what the backend sees; "": the client gets 400
	}{
		":authority alone":                  {[]string{":authority", "a.example"}, "a.example"},
		"a host field alone":                {[]string{"host", "a.example"}, "a.example"},
		"both, and the same":                {[]string{":authority", "a.example:81", "host", "a.example:81"}, "a.example:81"},
		"in other letters":                  {[]string{":authority", "a.example", "host", "A.Example"}, "a.example"},
		"with the port that is meant":       {[]string{":authority", "a.example", "host", "a.example:80"}, "a.example"},
		"with an empty port":                {[]string{":authority", "[::1]", "host", "[::1]:"}, "[::1]"},
		"another host":                      {[]string{":authority", "a.example", "host", "internal.example"}, ""},
		"another port":                      {[]string{":authority", "a.example", "host", "a.example:8080"}, ""},
		"an empty host":                     {[]string{":authority", "a.example", "host", ""}, ""},
		"two host fields":                   {[]string{"host", "a.example", "host", "b.example"}, ""},
		"a host field twice":                {[]string{"host", "a.example", "host", "a.example"}, "a.example"},
		"a host that is none":               {[]string{":authority", "a.example", "host", "x y z"}, ""},
		"a host that is none, and no other": {[]string{"host", "x y z"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			hosts := make(chan []string, 1)
			p := start(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				head, err := readHead(r)
				if err != nil {
					return
				}
				hosts <- head["Host"]
				io.WriteString(c, ok(""))
			}))
			p.sendHTTP2(t, append([]string{":method", "GET", ":scheme", "http", ":path", "/"}, tt.fields...)...)
			l := p.line(t)
			if tt.want == "" {
				if l["status"] != 400.0 || l["outcome"] != "bad_request" || len(hosts) > 0 {
					t.Errorf("got %v, and the backend %d requests", l, len(hosts))
				}
				return
			}
			if l["outcome"] != "ok" {
				t.Fatalf("got %v", l)
			}
			if got := <-hosts; !slices.Equal(got, []string{tt.want}) {
				t.Errorf("the backend got Host %q, want %q", got, tt.want)
			}
		})
	}
}

// Behind CGI and its kin X_Forwarded_For is X-Forwarded-For. No spelling of a field that is pace's
// goes on, whoever sent it; what is nobody's does.
func TestSpellingsOfFields(t *testing.T) {
	t.Parallel()
	h := newHandler(t, func(o *setup) { o.Trusted, o.ProxyName = prefixes("10.0.0.0/8"), "X_Edge" })
	for _, peer := range []string{"192.0.2.1:1", "10.0.0.1:1"} {
		for name, passes := range map[string]bool{
			"X_Forwarded_For": false, "x_forwarded-proto": false, "X-Forwarded_Host": false, "X.Forwarded.For": false, "X_Real_IP": false,
			"X_Request_Id": false, "Content_Length": false, "Transfer_Encoding": false, "Proxy_Authorization": false,
			"X_Edge": false, "X-Edge": false, "X+Edge": false,
			"X_Forwarded": true, "X_Csrf_Token": true, "X_": true, "_": true,
		} {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header[http.CanonicalHeaderKey(name)] = []string{"6.6.6.6"}
			if got := strings.Contains(h.outgoing(peer, r), "6.6.6.6"); got != passes {
				t.Errorf("%s of %s went on: %v, want %v", name, peer, got, passes)
			}
		}
	}
}
