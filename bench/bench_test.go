package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestParseStat(t *testing.T) {
	tests := map[string]struct {
		line  string
		group int
		ticks int64
		fault bool
	}{
		"plain name":            {"7 (pace) S 1 6 5 0 -1 4194560 1 2 3 4 150 25 9 9 20 0", 6, 175, false},
		"name that ends fields": {"7 (a) S 1 99 (b) R 1 6 5 0 -1 4194560 1 2 3 4 150 25 9 9", 6, 175, false},
		"cut off":               {"7 (pace) S 1 6", 0, 0, true},
		"empty":                 {"", 0, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			group, ticks, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fault || group != tt.group || ticks != tt.ticks {
				t.Errorf("parseStat(%q) = %d, %d, %v", tt.line, group, ticks, err)
			}
		})
	}
}

func TestUsage_CountsChildren(t *testing.T) {
	proc, err := start(t.TempDir(), "parent", "sh", "-c", "while :; do :; done & wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.stop)
	if err := proc.await(func() error {
		u, err := proc.usage()
		if err == nil && u.cpu < 50*time.Millisecond {
			err = errors.New("no CPU counted yet")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestParseWrk(t *testing.T) {
	l, err := parseWrk("Running 1s test\nRequests/sec: 5\nbench 2000 2000000 0 1500 9000\n")
	if want := (load{requests: 2000, seconds: 2, p50: 1500 * time.Microsecond, p99: 9 * time.Millisecond}); err != nil || l != want {
		t.Errorf("got %+v, %v, want %+v", l, err, want)
	}
	for name, out := range map[string]string{
		"no report":         "unable to connect",
		"a failed request":  "\nbench 2000 2000000 1 1500 9000\n",
		"nothing came back": "\nbench 0 2000000 0 0 0\n",
	} {
		if l, err := parseWrk(out); err == nil {
			t.Errorf("%s: got %+v and no error", name, l)
		}
	}
}

func TestCountSpans(t *testing.T) {
	scope := func(n int) *trace.ScopeSpans {
		s := &trace.ScopeSpans{SchemaUrl: "x"}
		for range n {
			s.Spans = append(s.Spans, &trace.Span{Name: "GET", TraceId: bytes.Repeat([]byte{0x12}, 16)})
		}
		return s
	}
	body, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{
		{ScopeSpans: []*trace.ScopeSpans{scope(2), scope(0)}}, {ScopeSpans: []*trace.ScopeSpans{scope(3)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := countSpans(body); n != 5 || err != nil {
		t.Errorf("got %d, %v, want 5 spans", n, err)
	}
	if n, err := countSpans(body[:len(body)-1]); err == nil {
		t.Errorf("cut off: got %d spans and no fault", n)
	}
}

func TestBackend(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	h2c, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	go serveBackend(addr, h2c)
	to := target{addr: addr}
	var body bytes.Buffer
	for deadline := time.Now().Add(5 * time.Second); ; {
		if err = to.get("/small", smallSize, &body); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || !strings.HasSuffix(body.String(), `"}`) {
		t.Fatalf("/small: %v, %q", err, &body)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for path, size := range map[string]int64{"/mib": mib, "/gib": gib, "/small": smallSize} { // on one connection
		if err := ask(conn, path, size, io.Discard); err != nil {
			t.Error(err)
		}
	}
	if n, err := accepted(addr); err != nil || n < 3 {
		t.Errorf("accepted: got %d, %v, want this third connection counted", n, err)
	}
	if err := to.get("/other", -1, io.Discard); err == nil {
		t.Error("an unknown path was answered")
	}
}

func TestMedian(t *testing.T) {
	for want, costs := range map[float64][]float64{0: nil, 2: {9, 1, 2}, 3: {4, 1, 2, 9}} {
		var samples []sample
		for _, c := range costs {
			samples = append(samples, sample{cost: c})
		}
		if got := median(samples, cost); got != want {
			t.Errorf("median of %v: got %v, want %v", costs, got, want)
		}
	}
}

func TestCheckRatio(t *testing.T) {
	costs := func(name string, pace float64) map[string][]sample {
		return map[string][]sample{bare: {{cost: 60}}, paceOn: {{cost: pace}}}
	}
	all := func(small, tls float64) map[string]map[string][]sample {
		got := map[string]map[string][]sample{}
		for _, s := range scenarios {
			got[s.name] = costs(s.name, 1)
		}
		got["small"], got["tls"] = costs("small", small), costs("tls", tls)
		return got
	}
	for _, tt := range []struct {
		name    string
		results map[string]map[string][]sample
		short   bool
		fails   bool
	}{
		{"within the ratio", all(30, 40), false, false},
		{"within the margin", all(57, 66), false, false},
		{"small requests are beyond the margin", all(60, 40), false, true},
		{"requests over TLS are beyond the margin", all(30, 69), false, true},
		{"pace was not measured", map[string]map[string][]sample{"small": {bare: {{cost: 60}}}}, false, true},
		{"nothing was measured", nil, true, true},
		{"the short form has measured its own", map[string]map[string][]sample{"small": costs("small", 1), "tls": costs("tls", 1), "h2": costs("h2", 1)}, true, false},
	} {
		b := &bench{options: options{maxRatio: 0.65, short: tt.short}, results: tt.results}
		if err := b.checkRatio(); (err != nil) != tt.fails {
			t.Errorf("%s: got %v", tt.name, err)
		}
	}
}

// The clients of the bench send what is counted, and do not take another response for the right one.
func TestLoad_OverHTTP2(t *testing.T) {
	addr, err1 := freeAddr()
	h2c, err2 := freeAddr()
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	go serveBackend(addr, h2c)
	to := target{addr: h2c}
	for name, c := range map[string]call{"small": smallCall(h2c), "gRPC": grpcCall(h2c)} {
		l, err := loadWhenUp(to, c, 2000)
		if err != nil || l.requests != 2000 || l.p50 == 0 || l.p99 < l.p50 {
			t.Errorf("%s: got %+v, %v", name, l, err)
		}
	}
	if n, err := accepted(addr); err != nil || n < 2*streamConns {
		t.Errorf("accepted: got %d, %v, want the connections over HTTP/2 counted", n, err)
	}
	short, refused := smallCall(h2c), grpcCall(h2c)
	short.size++
	refused.want = "grpc-status: 1"
	for name, c := range map[string]call{"another size": short, "another status": refused} {
		if l, err := loadStreams(to, c, 80); err == nil {
			t.Errorf("%s: got %+v and no error", name, l)
		}
	}
}

func loadWhenUp(to target, c call, requests int) (l load, err error) {
	for deadline := time.Now().Add(5 * time.Second); ; {
		if l, err = loadStreams(to, c, requests); err == nil || time.Now().After(deadline) {
			return l, err
		}
	}
}

// newPair returns a new identity, and its certificate as a server has it.
func newPair(t *testing.T) (*identity, tls.Certificate) {
	t.Helper()
	id, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(id.cert, id.key)
	if err != nil {
		t.Fatal(err)
	}
	return id, pair
}

// Each handshake is a whole one, with TLS 1.3.
func TestLoad_Handshakes(t *testing.T) {
	id, pair := newPair(t)
	var whole atomic.Int64
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !r.TLS.DidResume && r.TLS.Version == tls.VersionTLS13 {
			whole.Add(1)
		}
		w.Write(make([]byte, smallSize))
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	defer s.Close()
	to := target{addr: s.Listener.Addr().String(), tls: id.trust}
	l, err := loadHandshakes(to, 40)
	if err != nil || l.requests != 40 || whole.Load() != 40 {
		t.Errorf("got %+v, %v, and %d whole handshakes", l, err, whole.Load())
	}
	if _, err := to.dial("h2"); err == nil {
		t.Error("a peer without HTTP/2 was taken for one with it")
	}
}

// The requests over HTTP/3 are spread over the connections, and another response is not taken for the right one.
func TestLoad_OverHTTP3(t *testing.T) {
	id, pair := newPair(t)
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	size := smallSize
	var requests atomic.Int64
	var peers sync.Map
	s := &http3.Server{
		TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}}),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			peers.Store(r.RemoteAddr, true)
			w.Write(make([]byte, size))
		}),
	}
	go s.Serve(udp)
	defer udp.Close()
	defer s.Close()
	to := target{addr: udp.LocalAddr().String(), tls: id.trust}
	l, err := loadHTTP3(to, 640)
	conns := 0
	peers.Range(func(any, any) bool { conns++; return true })
	if err != nil || l.requests != 640 || requests.Load() != 640 || conns != streamConns {
		t.Errorf("got %+v, %v, and the server %d requests over %d connections", l, err, requests.Load(), conns)
	}
	size++
	if l, err := loadHTTP3(to, 64); err == nil {
		t.Errorf("another size: got %+v and no error", l)
	}
}

// The floors of handshakes take part in nothing else, and respond as the backend does.
func TestFloors(t *testing.T) {
	for _, s := range scenarios {
		for _, name := range floors {
			if got, want := s.measures(peer{name: name}), s.name == "handshake"; got != want {
				t.Errorf("%s measures %s: %v", s.name, name, got)
			}
		}
		if !s.measures(peer{name: bare}) {
			t.Errorf("%s does not measure the bare ReverseProxy", s.name)
		}
	}
	id, err1 := newIdentity()
	alone, err2 := freeAddr()
	served, err3 := freeAddr()
	backend, err4 := freeAddr()
	h2c, err5 := freeAddr()
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := id.write("."); err != nil {
		t.Fatal(err)
	}
	go serveBackend(backend, h2c)
	go serveTLSAlone(alone)
	go serveNetHTTPAlone(served, backend)
	for _, addr := range []string{alone, served} {
		var err error
		for deadline := time.Now().Add(5 * time.Second); ; {
			if _, err = loadHandshakes(target{addr: addr, tls: id.trust}, 40); err == nil || time.Now().After(deadline) {
				break
			}
		}
		if err != nil {
			t.Error(err)
		}
	}
	if n, err := accepted(backend); err != nil || n < 2 {
		t.Errorf("accepted: got %d, %v: no request came to the backend", n, err)
	}
}

// The configurations of all peers can be filled in, for each kind of traffic.
func TestSetting_FillsEveryFile(t *testing.T) {
	files, err := configs.ReadDir("peers")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range scenarios {
		set := setting{wire: s.wire, Listen: "l", Backend: "b", Sink: "s", Ratio: "0"}
		for _, f := range files {
			text, _ := configs.ReadFile("peers/" + f.Name())
			got, err := set.fill(string(text))
			if err != nil || strings.Contains(got, "<no value>") || strings.Contains(got, "{{") {
				t.Errorf("%s, %s: %v\n%s", s.name, f.Name(), err, got)
			}
		}
	}
}
