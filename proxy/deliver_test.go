package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Interim answers go on as they come, without what concerns the backend's connection alone; to
// HTTP/1.0, which does not know them, none goes.
func TestInterimAnswers(t *testing.T) {
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"+
			"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
	})
	p := start(t, nil, backend)
	got := p.say(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if want := "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\n"; !strings.HasPrefix(got, want) {
		t.Errorf("got %q, want it to begin with %q", got, want)
	}
	if _, final, _ := strings.Cut(got, "200 OK"); strings.Contains(final, "Link") {
		t.Errorf("the final answer has the interim one's fields: %q", final)
	}
	got = p.say(t, "GET / HTTP/1.0\r\nHost: x\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.0 200 OK\r\n") || strings.Contains(got, "Early") {
		t.Errorf("HTTP/1.0 got %q", got)
	}
	for _, l := range p.lines(t, 2) {
		if l["status"] != 200.0 || l["outcome"] != "ok" {
			t.Errorf("got %v", l)
		}
	}
}

// Clients in server_timing.allow are told where the time went, beside what the backend says of its own.
func TestServerTiming(t *testing.T) {
	backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server-Timing", "db;dur=53") })
	p := start(t, func(o *Options) { o.TimingAllow = prefixes("127.0.0.0/8") }, backend)
	r, _ := get(t, p.URL)
	list := r.Header["Server-Timing"]
	if len(list) != 2 || list[0] != "db;dur=53" || !regexp.MustCompile(`^own;dur=[0-9.]+(, [a-z]+;dur=[0-9.]+)*, wait;dur=[0-9.]+$`).MatchString(list[1]) {
		t.Errorf("got %q", list)
	}
	p = start(t, func(o *Options) { o.TimingAllow = prefixes("192.0.2.0/24") }, backend)
	if r, _ := get(t, p.URL); !slices.Equal(r.Header["Server-Timing"], []string{"db;dur=53"}) {
		t.Errorf("whoever is not allowed got %q", r.Header["Server-Timing"])
	}
}

// The answer's fields as the client sees them: the backend's, without those of its connection, and pace's.
func TestAnswersFields(t *testing.T) {
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nX-Many: 1\r\nX-Many: 2\r\nVia: 1.0 inner\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\n"+
			"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nUpgrade: h2c\r\nX-Request-Id: theirs\r\nContent-Length: 0\r\n\r\n")
	})
	p := start(t, nil, backend)
	r, _ := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	for name, want := range map[string][]string{
		"X-Many": {"1", "2"}, "Via": {"1.0 inner, 1.1 pace"}, "X-Hop": nil, "Keep-Alive": nil, "Proxy-Authenticate": nil, "Upgrade": nil,
		"Content-Type": nil, "X-Backend": {"backend_127.0.0.1_" + backend[strings.LastIndex(backend, ":")+1:]},
	} {
		if !slices.Equal(r.Header[name], want) {
			t.Errorf("%s: got %q, want %q", name, r.Header[name], want)
		}
	}
	if id := r.Header["X-Request-Id"]; len(id) != 1 || id[0] == "theirs" {
		t.Errorf("X-Request-Id: got %q", id)
	}
}
