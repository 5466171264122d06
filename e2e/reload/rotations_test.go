package reload

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

const (
	rotations  = 200
	byThemself = 5 // of them are noticed without a signal
)

// pair is a certificate whose files are replaced: by others under their names, or by a swap of the symbolic link to
// their folder.
type pair struct {
	ca     *pacetest.CA
	files  pacetest.Certificate
	names  []string
	link   string // "": there is none
	folder int
}

func newPair(t *testing.T, ca *pacetest.CA, linked bool, names ...string) *pair {
	t.Helper()
	p := &pair{ca: ca, names: names}
	if !linked {
		p.files = ca.Issue(names...)
		return p
	}
	p.link = filepath.Join(t.TempDir(), "current")
	p.files = pacetest.Certificate{Cert: filepath.Join(p.link, "tls.crt"), Key: filepath.Join(p.link, "tls.key")}
	p.rotate(t)
	return p
}

// rotate replaces the certificate, as a Kubernetes volume or a tool that renews does.
func (p *pair) rotate(t *testing.T) {
	t.Helper()
	if p.link == "" {
		p.ca.IssueTo(p.files, p.names...)
		return
	}
	p.folder++
	folder := filepath.Join(filepath.Dir(p.link), fmt.Sprint(p.folder))
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	p.ca.IssueTo(pacetest.Certificate{Cert: filepath.Join(folder, "tls.crt"), Key: filepath.Join(folder, "tls.key")}, p.names...)
	if err := os.Symlink(folder, p.link+".next"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(p.link+".next", p.link); err != nil {
		t.Fatal(err)
	}
}

// visitors are clients over TLS: some shake hands for each request, the others keep their connection.
type visitors struct {
	p                            *pacetest.Pace
	ca                           *pacetest.CA
	handshakes, requests, failed atomic.Int64
	serials                      sync.Map
	clients                      []*http.Client
	why                          atomic.Pointer[string]
	stop                         chan struct{}
	done                         sync.WaitGroup
}

func visit(t *testing.T, p *pacetest.Pace, ca *pacetest.CA) *visitors {
	t.Helper()
	v := &visitors{p: p, ca: ca, stop: make(chan struct{})}
	for i, name := range []string{"linked.test", "replaced.test"} {
		for range 2 {
			v.until(10*time.Millisecond, func() { v.shake(name) })
		}
		for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
			client := ca.Client(mode, name)
			v.clients = append(v.clients, client)
			v.until(time.Duration(5+i)*time.Millisecond, func() { v.ask(client) })
		}
	}
	return v
}

func (v *visitors) until(pause time.Duration, do func()) {
	v.done.Go(func() {
		for {
			select {
			case <-v.stop:
				return
			case <-time.After(pause):
				do()
			}
		}
	})
}

func (v *visitors) end() {
	close(v.stop)
	v.done.Wait()
	for _, c := range v.clients {
		c.CloseIdleConnections()
	}
	http.DefaultClient.CloseIdleConnections()
}

func (v *visitors) fail(err error) {
	v.failed.Add(1)
	why := err.Error()
	v.why.CompareAndSwap(nil, &why)
}

// shake makes a handshake of its own, over HTTP/1.1 or HTTP/2 in turn, which resumes no session.
func (v *visitors) shake(name string) {
	c := v.ca.Config(name)
	c.NextProtos = [][]string{{"http/1.1"}, {"h2", "http/1.1"}}[v.handshakes.Add(1)%2]
	conn, err := tls.Dial("tcp", v.p.Proxy, c)
	if err != nil {
		v.fail(err)
		return
	}
	defer conn.Close()
	v.serials.Store(conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), true)
}

func (v *visitors) ask(c *http.Client) {
	v.requests.Add(1)
	resp, err := c.Get("https://" + v.p.Proxy + "/a/x")
	if err != nil {
		v.fail(err)
		return
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if resp.StatusCode != 200 || string(body) != "/a/x" || err != nil {
		v.fail(fmt.Errorf("got %d %q, %v", resp.StatusCode, body, err))
	}
}

// Certificates are replaced 200 times, in both ways, under clients that come and that stay. No handshake and no
// request fails, each reload takes effect at once, and nothing is left behind.
func TestRotations_UnderLoad(t *testing.T) {
	ca := pacetest.NewCA(t)
	pairs := []*pair{newPair(t, ca, true, "linked.test"), newPair(t, ca, false, "replaced.test")}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	p := pacetest.StartTOML(t, fmt.Sprintf(`
[admin]
listen = "127.0.0.1:0"
pprof = true
token_file = %q
[tracing.keep]
recent = 0
[listener.a]
listen = "127.0.0.1:0"
tls = true
[[certificate]]
cert = %q
key = %q
[[certificate]]
cert = %q
key = %q
[[route]]
match = "/"
upstream = "default"
log = "none"
[upstreams]
backends = [%q]
idle_timeout = "300ms"
`, filepath.Join(dir, "token"), pairs[0].files.Cert, pairs[0].files.Key, pairs[1].files.Cert, pairs[1].files.Key, backend(t)))
	serial := func(name string) string {
		c, err := tls.Dial("tcp", p.Proxy, ca.Config(name))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}

	warm := visit(t, p, ca)
	for _, one := range pairs {
		one.rotate(t)
		reload(t, p)
	}
	time.Sleep(time.Second)
	warm.end()
	base := rest(t, p, held{1e9, 1e9, 1e18}, 0)
	pacetest.Eventually(t, func() error { // connections to the backend, and those of clients, end
		now := measure(t, p)
		quieter := now.goroutines < base.goroutines || now.descriptors < base.descriptors
		if base = now; quieter {
			return fmt.Errorf("pace still becomes quiet: %v", now)
		}
		return nil
	})

	v := visit(t, p, ca)
	for i := range rotations {
		one := pairs[i%2]
		last := serial(one.names[0])
		one.rotate(t)
		if i%(rotations/byThemself) > 0 {
			if got := reload(t, p); got != 200 {
				t.Fatalf("rotation %d: the reload is refused: %d", i, got)
			}
			if serial(one.names[0]) == last {
				t.Fatalf("rotation %d: the certificate before is in force after the reload", i)
			}
			continue
		}
		pacetest.Eventually(t, func() error {
			time.Sleep(50 * time.Millisecond)
			if serial(one.names[0]) == last {
				return fmt.Errorf("rotation %d: the certificate before is in force", i)
			}
			return nil
		})
	}
	v.end()
	if n := v.failed.Load(); n > 0 {
		t.Errorf("%d of %d handshakes and %d requests failed, the first: %s", n, v.handshakes.Load(), v.requests.Load(), *v.why.Load())
	}
	p.WantMetric(0, "pace_refused_total", "reason", "tls_handshake")
	p.WantMetric(0, "pace_certificate_reload_failures_total")
	// Now and then pace has looked by itself a moment before the reload, which then changes nothing.
	if got := p.Metrics().Sum("pace_config_reloads_total", "result", "applied"); got < rotations/2 {
		t.Errorf("%v reloads have changed something, want nearly %d", got, rotations)
	}
	now := rest(t, p, base, 3<<20)
	seen := 0
	v.serials.Range(func(any, any) bool { seen++; return true })
	if seen < rotations/2 {
		t.Errorf("the clients saw %d certificates of %d", seen, rotations)
	}
	t.Logf("%d handshakes, %d requests, %d certificates seen; before %v, after %v", v.handshakes.Load(), v.requests.Load(), seen, base, now)
}
