package proxy

import (
	"bufio"
	"io"
	"maps"
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
	t.Parallel()
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
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Server-Timing", "db;dur=53") })
	p := start(t, func(o *setup) { o.TimingAllow = prefixes("127.0.0.0/8") }, backend)
	r, _ := get(t, p.URL)
	list := r.Header["Server-Timing"]
	if len(list) != 2 || list[0] != "db;dur=53" || !regexp.MustCompile(`^own;dur=[0-9.]+(, [a-z]+;dur=[0-9.]+)*, wait;dur=[0-9.]+$`).MatchString(list[1]) {
		t.Errorf("got %q", list)
	}
	p = start(t, func(o *setup) { o.TimingAllow = prefixes("192.0.2.0/24") }, backend)
	if r, _ := get(t, p.URL); !slices.Equal(r.Header["Server-Timing"], []string{"db;dur=53"}) {
		t.Errorf("whoever is not allowed got %q", r.Header["Server-Timing"])
	}
}

// The answer's fields as the client sees them: the backend's, without those of its connection, and pace's.
func TestAnswersFields(t *testing.T) {
	t.Parallel()
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

// One length twice is one length.
func TestAnswersLength_IsSaidOnce(t *testing.T) {
	t.Parallel()
	p := start(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello")
	}))
	if got := p.say(t, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); strings.Count(got, "Content-Length: 5\r\n") != 1 {
		t.Errorf("got %q", got)
	}
}

// The trailer is the backend's: net/http would add what the header has under a name announced. What
// is the connection's, pace's, or of no use behind a body stays behind.
func TestAnswersTrailer(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		header, trailer string
		want            http.Header
	}{
		"a field of header and trailer": {"X-Sum: pending\r\nTrailer: X-Sum\r\n", "X-Sum: final\r\n", http.Header{"X-Sum": {"final"}}},
		"announced, and not sent":       {"X-Sum: pending\r\nTrailer: X-Sum, X-Late\r\n", "X-Late: 1\r\n", http.Header{"X-Late": {"1"}}},
		"twice":                         {"Trailer: X-Sum\r\n", "X-Sum: 1\r\nX-Sum: 2\r\n", http.Header{"X-Sum": {"1", "2"}}},
		"pace's own, announced":         {"Trailer: X-Backend, Via, X-Request-Id, X-Trace-Id, X-Sum\r\n", "X-Sum: 1\r\n", http.Header{"X-Sum": {"1"}}},
		"pace's own, sent":              {"", "X-Backend: x\r\nVia: x\r\nX-Request-Id: x\r\nX-Trace-Id: x\r\nX-Sum: 1\r\n", http.Header{"X-Sum": {"1"}}},
		"the header's and the connection's": {"", "Connection: X-A\r\nKeep-Alive: x\r\nContent-Type: x\r\nSet-Cookie: x\r\nWww-Authenticate: x\r\nLocation: x\r\nX-Sum: 1\r\n",
			http.Header{"X-Sum": {"1"}}},
		"none behind events": {"Content-Type: text/event-stream\r\nX-Sum: pending\r\nTrailer: X-Sum\r\n", "", http.Header{}},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"+tt.header+"\r\n5\r\nhello\r\n0\r\n"+tt.trailer+"\r\n")
			}))
			for version, client := range map[string]*http.Client{"HTTP/1.1": http.DefaultClient, "HTTP/2": h2Client(t)} {
				r, err := client.Get(p.URL)
				if err != nil {
					t.Fatal(err)
				}
				io.Copy(io.Discard, r.Body)
				r.Body.Close()
				maps.DeleteFunc(r.Trailer, func(_ string, values []string) bool { return len(values) == 0 }) // announced only
				if !maps.EqualFunc(r.Trailer, tt.want, slices.Equal) {
					t.Errorf("%s: got %v, want %v", version, r.Trailer, tt.want)
				}
			}
		})
	}
}

// An answer that has no body is no stream, whatever its type says of the body that it would have had.
func TestEventStream_HasABody(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		method, response string
		stream           any
	}{
		"a stream":           {"GET", "200 OK\r\n", "sse"},
		"a HEAD of one":      {"HEAD", "200 OK\r\n", nil},
		"not modified":       {"GET", "304 Not Modified\r\n", nil},
		"no content":         {"GET", "204 No Content\r\n", nil},
		"an empty body":      {"GET", "200 OK\r\nContent-Length: 0\r\n", nil},
		"a body of a length": {"GET", "200 OK\r\nContent-Length: 9\r\n", "sse"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, nil, rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.WriteString(c, "HTTP/1.1 "+tt.response+"Content-Type: text/event-stream; charset=utf-8\r\n\r\n")
				if tt.stream != nil {
					io.WriteString(c, "data: 1\n\n")
				}
			}))
			p.ask(t, tt.method+" / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if l := p.line(t); l["stream"] != tt.stream || l["outcome"] != "ok" {
				t.Errorf("got %v, want stream %v", l, tt.stream)
			}
		})
	}
}
