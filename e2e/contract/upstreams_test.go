package contract

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

// weighted is the configuration of backends with weights.
func weighted(weights []int, backends ...*pacetest.Backend) pacetest.Config {
	var list []string
	for i, b := range backends {
		list = append(list, fmt.Sprintf("{ url = %q, weight = %d }", "http://"+b.Address(), weights[i]))
	}
	return pacetest.Config{"upstreams": pacetest.Table{"backends": asWritten("[" + strings.Join(list, ", ") + "]")}}
}

// asWritten is a value in TOML.
type asWritten string

// TestWeights_AreSharesInSmoothTurns counts what each backend got, and looks at the order.
func TestWeights_AreSharesInSmoothTurns(t *testing.T) {
	t.Parallel()
	a, b, c := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, weighted([]int{5, 1, 1}, a, b, c))
	letters := map[string]string{a.Name(): "a", b.Name(): "b", c.Name(): "c"}
	var order strings.Builder
	for range 10 * 7 {
		got := p.Get("/x")
		wantStatus(t, got, 200)
		order.WriteString(letters[got.Header.Get("X-Backend")])
	}
	if order.String() != strings.Repeat("aabacaa", 10) {
		t.Errorf("the order is %s, want aabacaa again and again", order.String())
	}
	for b, want := range map[*pacetest.Backend]int{a: 50, b: 10, c: 10} {
		if got := len(b.Requests()); got != want {
			t.Errorf("%s got %d requests, want %d", letters[b.Name()], got, want)
		}
		p.WantMetric(float64(want), "http_client_request_duration_seconds_count", "server_port", fmt.Sprint(b.Port()))
	}
}

// unixBackend is a backend at a unix socket.
type unixBackend struct {
	path string
	mu   sync.Mutex
	got  []string // method, target, Host and body of each request; guarded by mu
}

func newUnixBackend(t *testing.T) *unixBackend {
	t.Helper()
	b := &unixBackend{path: filepath.Join(t.TempDir(), "app.sock")}
	l, err := net.Listen("unix", b.path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.got = append(b.got, strings.Join([]string{r.Method, r.RequestURI, r.Host, string(body)}, " "))
		io.WriteString(w, "from the socket")
	})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return b
}

// TestUnixBackend_IsNamedByItsPath: in X-Backend, log, span and metric, without a port.
func TestUnixBackend_IsNamedByItsPath(t *testing.T) {
	t.Parallel()
	b := newUnixBackend(t)
	p, spans := pacetest.StartTraced(t, pacetest.Config{"upstreams": pacetest.Table{"backends": []string{"unix:" + b.path}}})
	got := p.Get("/x?y=1")
	wantStatus(t, got, 200)
	if got.Body != "from the socket" || got.Header.Get("X-Backend") != b.path {
		t.Errorf("got %q from %q", got.Body, got.Header.Get("X-Backend"))
	}
	wantStatus(t, p.Send("POST", "/x", "data"), 200)
	host := p.Proxy
	b.mu.Lock()
	if want := []string{"GET /x?y=1 " + host + " ", "POST /x " + host + " data"}; fmt.Sprint(b.got) != fmt.Sprint(want) {
		t.Errorf("the backend got %q, want %q", b.got, want)
	}
	b.mu.Unlock()
	w := p.Wire()
	w.Send("GET /old HTTP/1.0\r\n\r\n")
	w.Response("GET")
	b.mu.Lock()
	if last := b.got[len(b.got)-1]; last != "GET /old localhost " {
		t.Errorf("a request without a host came as %q", last)
	}
	b.mu.Unlock()

	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/old"))
	client := trace.Clients[0]
	wantAttr(t, client.Attrs, "server.address", b.path)
	wantAttr(t, client.Attrs, "url.full", "http://localhost/old")
	wantAttr(t, client.Attrs, "peer.service", "default/"+b.path)
	wantAttr(t, client.Attrs, "network.protocol.version", "1.1")
	lacksAttr(t, client.Attrs, "server.port")
	p.WantMetric(3, "http_client_request_duration_seconds_count", "server_address", b.path, "server_port", "")
	for _, line := range p.Access("/x") {
		if line.Text("backend") != b.path {
			t.Errorf("log says backend %v", line["backend"])
		}
	}
	if reused := p.Metrics().Sum("http_client_request_duration_seconds_count"); reused != 3 {
		t.Errorf("%v attempts", reused)
	}
}

// TestUnixBackend_ThatIsGoneFailsOver as any other that refuses connections.
func TestUnixBackend_ThatIsGoneFailsOver(t *testing.T) {
	t.Parallel()
	fine := pacetest.NewBackend(t, pacetest.Fine)
	gone := filepath.Join(t.TempDir(), "gone.sock")
	p := pacetest.Start(t, pacetest.Config{"upstreams": pacetest.Table{"backends": []string{"unix:" + gone, "http://" + fine.Address()}}})
	for range 4 {
		wantStatus(t, p.Send("POST", "/x", "data"), 200)
	}
	p.WantMetric(2, "pace_failovers_total", "reason", "connect_failed")
	p.WantMetric(2, "http_client_request_duration_seconds_count", "server_address", gone, "error_type", "connect_failed")
}

// TestReload_KeepsTheConnectionsOfBackendsThatStay when others of their upstream come and go, under load.
func TestReload_KeepsTheConnectionsOfBackendsThatStay(t *testing.T) {
	t.Parallel()
	stays, comes := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(stays))
	wantStatus(t, p.Get("/x"), 200)
	for i := range 10 {
		if i%2 == 0 {
			p.Reload(weighted([]int{1, 2}, comes, stays))
		} else {
			p.Reload(upstreams(stays))
		}
		for range 3 {
			wantStatus(t, p.Get("/x"), 200)
		}
	}
	if n := stays.Accepted(); n != 1 {
		t.Errorf("%d connections were made to the backend that stayed, want 1", n)
	}
	if got := len(comes.Requests()); got != 5 {
		t.Errorf("the backend that came and went got %d requests, want 5", got)
	}
	p.WantMetric(31, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}
