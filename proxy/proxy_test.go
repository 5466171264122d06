package proxy

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/proxy/action"
	"pace/proxy/front"
	"pace/proxy/route"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
	"pace/telemetry/inflight"
	"pace/telemetry/telemetrytest"
)

// proxied is a pace in this process before the given backends, with the lines it logged.
type proxied struct {
	URL     string
	Addr    string
	server  *front.Server
	handler *Handler
	log     string // file of JSON lines

	telemetry *telemetrytest.All
	upstream  *upstream.Upstream
}

// setup is what a test may change before pace starts.
type setup struct {
	Options
	pool  upstream.Options
	Limit *Limit // of the one route; nil: none

	upstream *upstream.Upstream // of pool; who sets Routes sets it
}

// handler returns a Handler with one route, unless the test has set others.
func (s *setup) handler() *Handler {
	if s.Routes == nil {
		s.upstream = upstream.New(s.pool, nil)
		one := Route{Entry: route.Entry{Name: "default", Match: route.All}, Action: action.To(s.upstream)}
		if s.Limit != nil {
			one.Limits = []*Limit{s.Limit}
		}
		s.Routes = []Route{one}
	}
	return NewHandler(s.Options)
}

// addresses are backends of equal weight.
func addresses(list ...string) []upstream.Address {
	backends := make([]upstream.Address, len(list))
	for i, a := range list {
		backends[i].Addr = a
	}
	return backends
}

// start serves until the test ends. change may be nil.
func start(t testing.TB, change func(*setup), backends ...string) *proxied {
	t.Helper()
	return startServer(t, func(o *setup, _ *ServerOptions) {
		if change != nil {
			change(o)
		}
	}, backends...)
}

// startServer is start for who changes the server's options, too.
func startServer(t testing.TB, change func(*setup, *ServerOptions), backends ...string) *proxied {
	t.Helper()
	tel := telemetrytest.New(t, func(o *telemetrytest.Options) { o.NoExporter = true })
	p := &proxied{log: tel.File, telemetry: tel}
	o := setup{
		Options: Options{
			Telemetry: tel.Telemetry, Log: tel.Log.Logger, InFlight: new(front.InFlight),
			PlanOptions: PlanOptions{ProxyName: "X-Proxy", ProxyValue: "pace", BackendName: "X-Backend", TraceName: "X-Trace-Id"},
		},
		pool: upstream.Options{
			Name: "default", Addresses: addresses(backends...), Retry: upstream.RetryOptions{Failovers: 1},
			Transport: http1.Options{ConnectTimeout: 10 * time.Second, ResponseTimeout: 10 * time.Second}, // the machine may be busy
		},
	}
	so := ServerOptions{Settings: front.Settings{ReadHeaderTimeout: 5 * time.Second, MaxHeaderBytes: 1 << 16}}
	change(&o, &so)
	p.handler = o.handler()
	p.upstream = o.upstream
	so.Handler = p.handler
	p.server = NewServer(so)
	l, err := front.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p.Addr = l.Addr().String()
	p.URL = "http://" + p.Addr
	served := make(chan error, 1)
	go func() { served <- p.server.Serve(l, front.ListenerSettings{}) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		p.server.Drain(ctx)
		p.upstream.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
		tel.Close()
	})
	return p
}

// inFlight returns the exchanges in flight, the oldest first.
func (p *proxied) inFlight() []inflight.Running {
	return inflight.List(p.handler.InFlight.Records(), time.Now())
}

// origin starts a backend with this handler and returns its address.
func origin(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// rawOrigin answers each connection with f, and returns its address.
func rawOrigin(t testing.TB, f func(net.Conn, *bufio.Reader)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(60 * time.Second)) // no test hangs for ever
				f(c, bufio.NewReader(c))
			})
		}
	})
	return l.Addr().String()
}

func get(t *testing.T, url string) (*http.Response, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, string(b)
}

func TestEarlyAnswerReachesAClientThatStillSends(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		io.WriteString(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
		io.Copy(io.Discard, io.LimitReader(r, 1<<16))
	})
	p := start(t, nil, backend)
	for _, length := range []int64{64 << 20, -1} {
		body := io.LimitReader(zeros{}, 64<<20)
		req, _ := http.NewRequest("POST", p.URL, io.NopCloser(body))
		req.ContentLength = length
		r, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatalf("length %d: %v", length, err)
		}
		b, err := io.ReadAll(r.Body)
		if r.StatusCode != 413 || string(b) != "big" || err != nil {
			t.Errorf("length %d: got %d %q, %v", length, r.StatusCode, b, err)
		}
		r.Body.Close()
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestBothDirectionsStreamAtOnce(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		rc := http.NewResponseController(w)
		rc.EnableFullDuplex()
		rc.Flush()
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			fmt.Fprintf(w, "echo %s\n", lines.Text())
			rc.Flush()
		}
	})
	p := start(t, nil, backend)
	pr, pw := io.Pipe()
	req, _ := http.NewRequest("POST", p.URL, pr)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	responses := bufio.NewReader(r.Body)
	for i := range 3 {
		fmt.Fprintf(pw, "line %d\n", i)
		got, err := responses.ReadString('\n')
		if want := fmt.Sprintf("echo line %d\n", i); got != want || err != nil {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
	}
	pw.Close()
	if rest, err := io.ReadAll(responses); len(rest) > 0 || err != nil {
		t.Errorf("after the end: got %q, %v", rest, err)
	}
}

func TestTrailersPassBothWays(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Trailer", "X-Sum")
		fmt.Fprintf(w, "sent %s", r.Trailer.Get("X-Up"))
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	})
	p := start(t, nil, backend)
	req, _ := http.NewRequest("POST", p.URL, strings.NewReader("abc"))
	req.ContentLength = -1
	req.Trailer = http.Header{"X-Up": {"hello"}}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, _ := io.ReadAll(r.Body)
	if string(b) != "sent hello" || r.Trailer.Get("X-Sum") != "42" || r.Trailer.Get("X-Late") != "yes" {
		t.Errorf("got %q, trailer %v", b, r.Trailer)
	}
}

func TestUpgradeJoinsTheConnections(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil || req.Header.Get("Upgrade") != "echo" || req.Header.Get("Connection") != "Upgrade" {
			t.Errorf("backend got %v, %v", req, err)
			return
		}
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi")
		io.Copy(c, r)
		c.(*net.TCPConn).CloseWrite()
	})
	p := start(t, nil, backend)
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: echo\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Fatalf("got %v, %v", resp, err)
	}
	io.WriteString(c, " there")
	c.(*net.TCPConn).CloseWrite() // half a close: the rest still comes back
	if got, err := io.ReadAll(r); string(got) != "hi there" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestHopByHopFieldsStayBehind(t *testing.T) {
	t.Parallel()
	backend := rawOrigin(t, func(c net.Conn, r *bufio.Reader) {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		var seen bytes.Buffer
		req.Header.Write(&seen)
		fmt.Fprintf(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"+
			"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nContent-Length: %d\r\n\r\n%s", seen.Len(), seen.String())
	})
	p := start(t, nil, backend)
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close, X-Secret, X-Forwarded-For\r\nX-Secret: 1\r\nProxy-Authorization: x\r\n"+
		"X-Forwarded-For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Proxy: forged\r\nX-Request-Id: forged\r\nTraceparent: rubbish\r\n\r\n")
	all, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"X-Hop", "Keep-Alive: timeout", "X-Secret", "Proxy-Authorization", "6.6.6.6", "forged", "rubbish"} {
		if bytes.Contains(all, []byte(word)) {
			t.Errorf("%s came through: %s", word, all)
		}
	}
	for _, word := range []string{"103 Early Hints\r\nLink: </a>\r\n\r\n", "X-Forwarded-For: 127.0.0.1\r\n", "X-Proxy: pace\r\n"} {
		if !bytes.Contains(all, []byte(word)) {
			t.Errorf("%q did not come through: %s", word, all)
		}
	}
}
