package contract

import (
	"crypto/tls"
	"encoding/xml"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// Over TLS and in clear text, h2spec finds nothing at pace that it does not find at Go's own server. A case is run again before it counts, because some of h2spec's cases depend on which of two frames
// comes first.
func TestH2spec(t *testing.T) {
	t.Parallel()
	tool := parts.Path(t, "h2spec")
	ca := pacetest.NewCA(t)
	certificate := ca.Issue("pace.test")
	c := overTLS(upstreams(pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) })), certificate)
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
	p := pacetest.Start(t, c)
	bare := [2]string{bareServer(t, &certificate), bareServer(t, nil)}
	for i, name := range []string{"TLS", "h2c"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var ours, gos map[string]string
			var both sync.WaitGroup
			both.Go(func() { ours = allOfH2spec(t, tool, p.Listeners[i], i == 0) })
			both.Go(func() { gos = allOfH2spec(t, tool, bare[i], i == 0) })
			both.Wait()
			t.Logf("Go's own server fails %d cases, pace %d", len(gos), len(ours))
			for id, what := range ours {
				_, shared := gos[id]
				switch {
				case shared:
					t.Logf("both fail %s: %s", id, what)
				case failsInH2spec(t, tool, p.Listeners[i], i == 0, id) && !failsInH2spec(t, tool, bare[i], i == 0, id):
					t.Errorf("pace fails %s, and Go's own server does not: %s", id, what)
				}
			}
		})
	}
}

// bareServer starts net/http's own server, and returns its address.
func bareServer(t *testing.T, over *pacetest.Certificate) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Protocols: new(http.Protocols), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, "fine")
	})}
	s.ErrorLog = log.New(io.Discard, "", 0)
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetHTTP2(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(func() { s.Close() })
	if over == nil {
		go s.Serve(l)
	} else {
		s.TLSConfig = &tls.Config{}
		go s.ServeTLS(l, over.Cert, over.Key)
	}
	return l.Addr().String()
}

// allOfH2spec runs all cases, and returns those that fail, as h2spec does. Its sections run concurrently: each case has a
// connection of its own, and those that fail do so by waiting for 3 s.
func allOfH2spec(t *testing.T, tool, address string, over bool) map[string]string {
	t.Helper()
	var mu sync.Mutex
	failed, ran := map[string]string{}, 0 // guarded by mu
	var sections sync.WaitGroup
	for _, section := range []string{"generic", "hpack", "http2/3", "http2/4", "http2/5", "http2/6", "http2/7", "http2/8"} {
		sections.Go(func() {
			some, n := h2spec(t, tool, address, over, section)
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(failed, some)
			ran += n
		})
	}
	sections.Wait()
	if ran < 145 {
		t.Errorf("h2spec ran %d cases, want 145", ran)
	}
	return failed
}

// failsInH2spec reports whether a case fails.
func failsInH2spec(t *testing.T, tool, address string, over bool, id string) bool {
	t.Helper()
	failed, _ := h2spec(t, tool, address, over, id)
	return len(failed) > 0
}

// h2spec runs the cases of a section, or one case, and returns what is in its report of those that fail, by id, and how
// many it has run.
func h2spec(t *testing.T, tool, address string, over bool, section string) (failed map[string]string, ran int) {
	t.Helper()
	report := filepath.Join(t.TempDir(), "report.xml")
	host, port, _ := net.SplitHostPort(address)
	said, err := exec.CommandContext(t.Context(), tool, "-host", host, "-port", port, "-report", report, "-timeout", "3s",
		fmt.Sprintf("-tls=%v", over), "-insecure", section).CombinedOutput()
	raw, readErr := os.ReadFile(report)
	if readErr != nil {
		t.Errorf("h2spec: %v\n%s", err, said)
		return nil, 0
	}
	var all struct {
		Suites []struct {
			Cases []struct {
				Package string  `xml:"package,attr"`
				Name    string  `xml:"classname,attr"`
				Failure *string `xml:"failure"`
				Error   *string `xml:"error"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(raw, &all); err != nil {
		t.Errorf("h2spec's report: %v", err)
	}
	failed = map[string]string{}
	for _, suite := range all.Suites {
		for i, one := range suite.Cases {
			ran++
			for _, why := range []*string{one.Failure, one.Error} {
				if why != nil {
					failed[fmt.Sprintf("%s/%d", one.Package, i+1)] = one.Name + ": " + strings.Join(strings.Fields(*why), " ")
				}
			}
		}
	}
	return failed, ran
}
