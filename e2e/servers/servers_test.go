// Package servers has pace send requests to web servers from Debian over HTTP/2, and compares what the client and the origin
// behind the server recorded with what pace says.
package servers

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

func TestMain(m *testing.M) { pacetest.Main(m) }

// overEach runs f with pace in front of each server, over h2c, over h2, and where the server chooses.
func overEach(t *testing.T, f func(t *testing.T, p *pacetest.Pace, o *origin)) {
	for _, server := range parts.WebServers {
		t.Run(server.Name, func(t *testing.T) {
			t.Parallel()
			ca, o := pacetest.NewCA(t), newOrigin(t)
			cert := ca.Issue("127.0.0.1")
			clear, secure := server.Start(t, o.Listener.Addr().String(), cert.Cert, cert.Key)
			for _, url := range []string{"h2c://" + clear, "h2://" + secure, "https://" + secure} {
				scheme, _, _ := strings.Cut(url, ":")
				t.Run(scheme, func(t *testing.T) {
					f(t, pacetest.Start(t, pacetest.Config{
						"upstreams":       pacetest.Table{"backends": []string{url}, "connect_timeout": "30s"},
						"upstreams.tls":   pacetest.Table{"ca": ca.File()},
						"upstreams.retry": pacetest.Table{"budget": 1.0},
					}), o)
				})
			}
		})
	}
}

// large is more than any window at the beginning.
const large = 4 << 20

// origin counts the requests that reach it.
type origin struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string]int // by X-Id
}

func newOrigin(t *testing.T) *origin {
	o := &origin{seen: map[string]int{}}
	o.Server = httptest.NewServer(http.HandlerFunc(o.serve))
	t.Cleanup(o.Close)
	return o
}

func (o *origin) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/large":
		io.WriteString(w, strings.Repeat("x", large))
	case "/204":
		w.WriteHeader(204)
	case "/304":
		w.WriteHeader(304)
	default:
		n, _ := io.Copy(io.Discard, r.Body)
		o.mu.Lock()
		o.seen[r.Header.Get("X-Id")]++
		o.mu.Unlock()
		fmt.Fprint(w, n)
	}
}

// Each kind of request gets its response. Early ones end the upload, and not the connection.
func TestServers_Exchanges(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, p *pacetest.Pace, o *origin) {
		c := pacetest.H2C.Client(t)
		body := strings.Repeat("x", large)
		tests := []struct {
			method, path, body string
			unknown            bool // length
			status, bytes      int
		}{
			{"GET", "/", "", false, 200, 1}, {"HEAD", "/large", "", false, 200, 0}, {"GET", "/large", "", false, 200, large},
			{"GET", "/204", "", false, 204, 0}, {"GET", "/304", "", false, 304, 0},
			{"POST", "/known", body, false, 200, 7}, {"POST", "/unknown", body, true, 200, 7},
			{"POST", "/refused", body, false, 413, -1}, {"POST", "/after", "x", false, 200, 1},
		}
		for _, tt := range tests {
			req := p.Request(tt.method, tt.path, tt.body)
			if tt.unknown {
				req.ContentLength = -1
			}
			got := pacetest.Do(c, req)
			if got.Err != nil || got.Status != tt.status || tt.bytes >= 0 && len(got.Body) != tt.bytes {
				t.Errorf("%s %s: status %d, %d bytes, %v", tt.method, tt.path, got.Status, len(got.Body), got.Err)
			}
		}
		for _, line := range p.AwaitLines(len(tests), "request") {
			if outcome := line.Text("outcome"); outcome != "ok" && line.Text("path") != "/refused" || line.Int("attempts") != 1 {
				t.Errorf("the line says %v", line)
			}
		}
	})
}

// Many requests at once all reach the origin, once, although the server ends connections, or lets them carry few requests.
func TestServers_ManyAtOnce(t *testing.T) {
	t.Parallel()
	overEach(t, func(t *testing.T, p *pacetest.Pace, o *origin) {
		const clients, each = 20, 15
		var all sync.WaitGroup
		for client := range clients {
			all.Go(func() {
				c := pacetest.H1.Client(t)
				for n := range each {
					id := fmt.Sprint(t.Name(), client, "-", n)
					if got := pacetest.Do(c, p.Request("POST", "/many", strings.Repeat("x", 3000), "X-Id", id)); got.Status != 200 || got.Body != "3000" {
						t.Errorf("%s: %+v", id, got)
					}
					o.mu.Lock()
					if o.seen[id] != 1 {
						t.Errorf("%s reached the origin %d times", id, o.seen[id])
					}
					o.mu.Unlock()
				}
			})
		}
		all.Wait()
		further := 0
		pacetest.Eventually(t, func() error {
			lines := p.Access("/many")
			if further = -len(lines); len(lines) != clients*each {
				return fmt.Errorf("%d lines", len(lines))
			}
			for _, line := range lines {
				if further += line.Int("attempts"); line.Text("outcome") != "ok" || line.Int("bytes_in") != 3000 {
					t.Errorf("the line says %v", line)
				}
			}
			return nil
		})
		p.WantMetric(float64(further), "pace_retries_total", "reason", "goaway")
		p.WantMetric(0, "pace_backend_active_requests")
		p.WantMetric(0, "pace_backend_connections", "state", "active")
	})
}
