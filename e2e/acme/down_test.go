package acme

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// What is stored is served at once, although the authority is down, and pace is ready.
func TestDown_ServesWhatIsStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	roots := w.ca.Roots()
	first := w.await(t, "a.test", roots)
	p.Stop()
	w.ca.Kill()
	p = pacetest.Start(t, w.config)
	if got, err := w.shown("a.test", roots); err != nil || !got.Equal(first) {
		t.Errorf("got %v, %v, want the certificate that is stored", got, err)
	}
	p.WantMetric(0, "pace_acme_failures_total")
}

// Without a certificate handshakes fail for that reason, pace says that it is not ready, and goes on trying: when the
// authority is back, it has one.
func TestDown_TriesAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	p := pacetest.StartUnready(t, w.config)
	if _, err := w.shown("a.test", nil); err == nil {
		t.Error("a handshake succeeded without a certificate")
	}
	p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", "no_certificate")
	var lines []pacetest.Line
	pacetest.Eventually(t, func() error {
		lines = p.Lines("certificate not issued: handshakes for its name fail")
		if n := p.Metrics().Sum("pace_acme_failures_total"); n < 2 || len(lines) < 2 {
			return notYet("%v failures, and %d lines of them", n, len(lines))
		}
		return nil
	})
	if lines[0].Text("certificate") != "a.test" ||
		!strings.Contains(lines[0].Text("error"), "refused") || lines[0].Text("directory") != w.ca.Directory {
		t.Errorf("got the lines %v", lines)
	}
	w.ca.Start()
	w.await(t, "a.test", w.ca.Roots())
	p.AwaitReady()
}

// A renewal that cannot be made leaves the certificate in force, and says so. An authority that comes back and has
// forgotten everything, the account too, issues another one.
func TestDown_WhileARenewalIsDue(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{validity: 40 * time.Second}, "a.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	roots := w.ca.Roots()
	w.await(t, "a.test", roots)
	w.ca.Kill()
	p.AwaitLines(1, "certificate not renewed: the one before stays in force")
	if _, err := w.shown("a.test", roots); err != nil {
		t.Errorf("the certificate is gone: %v", err)
	}
	if p.Metrics().Sum("pace_acme_failures_total") == 0 {
		t.Error("the failure is not counted")
	}
	w.ca.Start()
	w.await(t, "a.test", w.ca.Roots())
}

// gate stands in front of the authority. It refuses orders, and notes when they come.
type gate struct {
	mu      sync.Mutex
	refuses int
	orders  []time.Time
}

const retryAfter = 6 // seconds

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request, next http.Handler) {
	g.mu.Lock()
	refuse := false
	if strings.Contains(r.URL.Path, "order-plz") {
		g.orders = append(g.orders, time.Now())
		refuse = len(g.orders) <= g.refuses
	}
	g.mu.Unlock()
	if !refuse {
		next.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Retry-After", "6")
	w.WriteHeader(http.StatusTooManyRequests)
	w.Write([]byte(`{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many certificates", "status": 429}`))
}

// An authority that limits how often it is asked says when it may be asked again, and pace keeps to that, also when
// it is reloaded meanwhile.
func TestRateLimit_IsKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	w.ca.Start()
	g := &gate{refuses: 1}
	to, err := url.Parse(w.ca.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.Host = r.In.Host }, // by which Pebble makes its URLs
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.ServeHTTP(w, r, proxy) })}
	go s.ServeTLS(l, w.server.Cert, w.server.Key)
	t.Cleanup(func() { s.Close() })
	w.config["acme"]["directory"] = strings.Replace(w.ca.Directory, to.Host, "localhost:"+port(l), 1)
	p := pacetest.StartUnready(t, w.config)
	pacetest.Eventually(t, func() error {
		if p.Metrics().Sum("pace_acme_failures_total") == 0 {
			return notYet("no failure")
		}
		return nil
	})
	w.config["acme"]["email"] = "other@example.com"
	p.Reload(w.config)
	w.await(t, "a.test", w.ca.Roots())
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.orders) != 2 || g.orders[1].Sub(g.orders[0]) < retryAfter*time.Second {
		t.Errorf("orders came at %v, want two, %d s apart at least", g.orders, retryAfter)
	}
	p.WantMetric(1, "pace_acme_failures_total")
	if line := p.Lines("certificate not issued: handshakes for its name fail")[0]; !strings.Contains(line.Text("error"), "too many certificates") {
		t.Errorf("the line does not say what the authority says: %v", line)
	}
}

func port(l net.Listener) string {
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// An authority whose server shows a certificate that [acme] ca has not signed gets no request.
func TestCA_IsTheOneThatIsTrusted(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	w.ca.Start()
	w.config["acme"]["ca"] = pacetest.NewCA(t).File()
	p := pacetest.StartUnready(t, w.config)
	pacetest.Eventually(t, func() error {
		lines := p.Lines("certificate not issued: handshakes for its name fail")
		if len(lines) == 0 || !strings.Contains(lines[0].Text("error"), "x509") {
			return notYet("got the lines %v", lines)
		}
		return nil
	})
	if w.ca.Said("POST") > 0 {
		t.Error("the authority has got a request")
	}
	w.config["acme"]["ca"] = w.trust
	p.Reload(w.config)
	w.await(t, "a.test", w.ca.Roots())
}

// A storage that others may use is a warning, of pace check and of each start.
func TestStorage_IsLoose(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test")
	if err := os.Mkdir(w.storage, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(w.storage, 0o755); err != nil { // whatever the umask
		t.Fatal(err)
	}
	p := pacetest.StartUnready(t, w.config)
	if lines := p.Lines("others can use the storage of certificates"); len(lines) != 1 || !strings.Contains(lines[0].Text("remedy"), "chmod") {
		t.Errorf("got the lines %v", lines)
	}
	got := pacetest.Exec(t, filepath.Dir(p.File), nil, "check", p.File)
	if got.Code != 0 || !strings.Contains(got.Stderr, "acme.storage: warning: others than pace may use "+w.storage+" (-rwxr-xr-x)") {
		t.Errorf("pace check: %+v", got)
	}
}

// A reload adds a name and removes another one; what is issued stays in force, and is not asked for again.
func TestReload_OfNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, options{}, "a.test", "b.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	roots := w.ca.Roots()
	w.await(t, "a.test", roots)
	kept := w.await(t, "b.test", roots)
	w.config["acme"]["domains"] = []string{"b.test", "c.test"}
	p.Reload(w.config)
	if got, err := w.shown("b.test", roots); err != nil || !got.Equal(kept) {
		t.Errorf("right after the reload: got %v, %v, want the certificate that is stored", got, err)
	}
	if _, err := w.shown("a.test", roots); err == nil {
		t.Error("a name that is gone has a certificate")
	}
	w.await(t, "c.test", roots)
	if n := w.ca.Said("Issued certificate serial"); n != 3 {
		t.Errorf("the authority has issued %d certificates, want 3", n)
	}
	if text := p.Exposition(""); strings.Contains(text, `certificate="a.test"`) || !strings.Contains(text, `certificate="c.test"`) {
		t.Error("the metrics are not of the names in force")
	}
	w.config["acme"]["storage"] = filepath.Join(t.TempDir(), "other")
	w.ca.Kill() // so that there is none yet
	p.Reload(w.config)
	if got, err := w.shown("b.test", roots); err != nil || !got.Equal(kept) {
		t.Errorf("with another storage: got %v, %v, want the certificate before until there is another one", got, err)
	}
	w.ca.Start()
	w.await(t, "b.test", w.ca.Roots()) // which signs by another key since then
	delete(w.config, "acme")
	w.config["certificate[0]"] = pacetest.NewCA(t).Issue("a.test").Table()
	p.Reload(w.config)
	if _, err := w.shown("b.test", roots); err == nil {
		t.Error("without [acme] its certificates are shown")
	}
}

// The URL of a directory that refers to a secret is shown nowhere, although each line about a failure has it.
func TestDown_ShowsNoSecretOfTheDirectory(t *testing.T) {
	t.Parallel()
	const secret = "hunter2-of-the-directory"
	w := newWorld(t, options{}, "a.test")
	w.config["acme"]["directory"] = "https://127.0.0.1:1/dir?key=${env:SECRET_OF_ACME}"
	w.config["log"] = pacetest.Table{"level": "debug"}
	p := pacetest.StartUnready(t, w.config, "SECRET_OF_ACME="+secret)
	p.AwaitLines(1, "certificate not issued: handshakes for its name fail")
	resp, err := http.Get("http://" + p.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, err := io.ReadAll(resp.Body); err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), "***") {
		t.Errorf("/readyz says %q, %v", text, err)
	}
	if text := p.Output(); strings.Contains(text, secret) {
		t.Errorf("the log has the secret: %s", text)
	}
}
