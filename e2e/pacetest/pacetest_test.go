package pacetest

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) { Main(m) }

// TestAnswers sends requests to each scripted backend directly: if the harness misbehaved in another way
// than documented, tests would blame pace.
func TestAnswers(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		behaviour Behaviour
		status    int // 0: no response header
		body      string
		broken    bool
	}{
		"fine":                {Fine, 200, "fine", false},
		"a status":            {Status(503, "no"), 503, "no", false},
		"no content":          {Status(204, ""), 204, "", false},
		"reset before":        {ResetBefore, 0, "", true},
		"close before":        {CloseBefore, 0, "", true},
		"garbage":             {Garbage, 0, "", true},
		"cut with a length":   {CutLength, 200, strings.Repeat("x", 400), true},
		"cut between chunks":  {CutChunked, 200, strings.Repeat("x", 600), true},
		"a body to the close": {Raw("HTTP/1.1 200 OK\r\n\r\nall"), 200, "all", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			b := NewBackend(t, tt.behaviour)
			req, err := newRequest("POST", "http://"+b.Address()+"/x", strings.NewReader("data"))
			if err != nil {
				t.Fatal(err)
			}
			got := Do(H1.Client(t), req)
			if got.Status != tt.status || got.Body != tt.body || (got.Err != nil) != tt.broken {
				t.Errorf("status %d, %d bytes, error %v; want %d, %d bytes, error: %t", got.Status, len(got.Body), got.Err, tt.status, len(tt.body), tt.broken)
			}
			if r := b.WantGot(1, "/x")[0]; string(r.Body) != "data" || r.Method != "POST" || r.Conn != 1 || r.Nth != 1 || !strings.HasPrefix(r.Head, "POST /x HTTP/1.1\r\n") {
				t.Errorf("the backend wrote down %+v", r)
			}
		})
	}
}

func TestBackend_WritesDownAHalfBodyAsBroken(t *testing.T) {
	t.Parallel()
	b := NewBackend(t, Fine)
	w := DialWire(t, b.Address())
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	b.WantGot(1, "/x")
	w.CloseWrite()
	w.Rest()
	if r := b.Got("/x")[0]; r.BodyErr == nil || string(r.Body) != "half" {
		t.Errorf("body %q, error %v; want half and an error", r.Body, r.BodyErr)
	}
}

func TestBackend_KilledRefuses(t *testing.T) {
	t.Parallel()
	b := NewBackend(t, Fine)
	w := DialWire(t, b.Address())
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := w.Response("GET"); got.Status != 200 || b.Open() != 1 {
		t.Fatalf("status %d, %d connections", got.Status, b.Open())
	}
	b.Kill()
	if _, err := w.Rest(); err == nil {
		t.Error("the warm connection ended with FIN, want RST")
	}
	if c, err := net.Dial("tcp", b.Address()); err == nil {
		c.Close()
		t.Error("it still takes connections")
	}
}

func TestProcess_KeepsItsAccountBeyondItsDeath(t *testing.T) {
	t.Parallel()
	p := StartProcess(t)
	for _, path := range []string{"/1", "/2"} {
		w := DialWire(t, p.Address())
		w.Send("POST " + path + " HTTP/1.1\r\nHost: x\r\nTraceparent: 00-a-b-01\r\nContent-Length: 3\r\n\r\nabc" + "GET " + path + "/b HTTP/1.1\r\nHost: x\r\n\r\n")
		for range 2 {
			if got := w.Response("GET"); got.Status != 200 || got.Body != "fine" {
				t.Fatalf("%s: %d %q, %v", path, got.Status, got.Body, got.Err)
			}
		}
		address := p.Address()
		p.Kill()
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			t.Error("it still takes connections")
		}
		p.Restart()
		if p.Address() != address {
			t.Errorf("it came back on %s, was on %s", p.Address(), address)
		}
	}
	want := []Served{
		{"/1", "00-a-b-01", "", 3, 1}, {"/1/b", "", "", 0, 2},
		{"/2", "00-a-b-01", "", 3, 1}, {"/2/b", "", "", 0, 2},
	}
	if got := p.Served(); !slices.Equal(got, want) {
		t.Errorf("its account is %+v, want %+v", got, want)
	}
}

func TestBlackhole_AnswersNoSYN(t *testing.T) {
	t.Parallel()
	h := NewBlackhole(t)
	_, err := net.DialTimeout("tcp", h.Address(), 100*time.Millisecond)
	if e, ok := err.(net.Error); !ok || !e.Timeout() {
		t.Errorf("dialling it gives %v, want a time-out", err)
	}
}

func TestClosed_RefusesUntilAskedForByNumber(t *testing.T) {
	t.Parallel()
	closed := NewClosed(t)
	if c, err := net.Dial("tcp", closed.Address()); err == nil {
		c.Close()
		t.Error("it takes connections")
	}
	b := NewBackendAt(t, closed.Address(), Fine)
	if body, err := fetch("http://"+b.Address()+"/x", "*/*"); err != nil || body != "fine" || b.Port() != closed.Port() {
		t.Errorf("a backend there answers %q, %v", body, err)
	}
}

func TestMetrics_Sum(t *testing.T) {
	t.Parallel()
	m, err := ParseMetrics(`# TYPE a_total counter
a_total{x="1",y="1"} 2
a_total{x="1",y="2"} 3
a_total{x="2",y="2"} 5
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 4
h_sum 7.5
h_count 4
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want  float64
		name  string
		pairs []string
	}{
		{10, "a_total", nil}, {5, "a_total", []string{"x", "1"}}, {3, "a_total", []string{"x", "1", "y", "2"}},
		{0, "a_total", []string{"x", "9"}}, {10, "a_total", []string{"z", ""}}, {0, "nothing", nil}, {4, "h_count", nil}, {7.5, "h_sum", nil},
	} {
		if got := m.Sum(tt.name, tt.pairs...); got != tt.want {
			t.Errorf("Sum(%s, %q) = %v, want %v", tt.name, tt.pairs, got, tt.want)
		}
	}
}

func TestWire_LeavesWithRST(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	w := DialWire(t, listener.Addr().String())
	c, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w.Leave()
	if _, err := io.ReadAll(c); err == nil {
		t.Error("the other side saw FIN, want RST")
	}
}
