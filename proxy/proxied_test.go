package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// waitFor polls until it is so.
func waitFor(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !so(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// accessLine is what the log says of one request.
type accessLine map[string]any

func (l accessLine) text(field string) string { s, _ := l[field].(string); return s }

func (l accessLine) number(field string) float64 { n, _ := l[field].(float64); return n }

// said returns the lines of the log with this message.
func (p *proxied) said(t testing.TB, msg string) (all []accessLine) {
	t.Helper()
	raw, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(raw) {
		var l accessLine
		if json.Unmarshal(line, &l) == nil && l["msg"] == msg {
			all = append(all, l)
		}
	}
	return all
}

// lines waits for the access lines of n requests, in the order of their end.
func (p *proxied) lines(t testing.TB, n int) (all []accessLine) {
	t.Helper()
	waitFor(t, "access lines", func() bool { all = p.said(t, "request"); return len(all) >= n })
	if len(all) > n {
		t.Fatalf("got %d access lines, want %d: %v", len(all), n, all)
	}
	return all
}

// line is what the log says of the only request.
func (p *proxied) line(t testing.TB) accessLine { t.Helper(); return p.lines(t, 1)[0] }

// metric returns what the series of this name add up to that have these labels: name, word, name,
// word. Of a histogram it is the number of observations.
func (p *proxied) metric(t testing.TB, name string, labels ...string) (sum float64) {
	t.Helper()
	w := httptest.NewRecorder()
	p.telemetry.Metrics.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range families[name].GetMetric() {
		found := 0
		for _, l := range m.GetLabel() {
			for i := 0; i < len(labels); i += 2 {
				if l.GetName() == labels[i] && l.GetValue() == labels[i+1] {
					found++
				}
			}
		}
		if found == len(labels)/2 {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// dial connects to pace until the test ends.
func (p *proxied) dial(t testing.TB) (net.Conn, *bufio.Reader) {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second)) // no test hangs for ever
	t.Cleanup(func() { c.Close() })
	return c, bufio.NewReader(c)
}

// say sends this on a connection of its own, and returns all that comes back until its end.
func (p *proxied) say(t testing.TB, text string) string {
	t.Helper()
	c, r := p.dial(t)
	io.WriteString(c, text)
	b, err := io.ReadAll(r)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		t.Fatal(err)
	}
	return string(b)
}

// ask sends this and returns the answer, its body read and in text.
func (p *proxied) ask(t testing.TB, text string) (*http.Response, string) {
	t.Helper()
	c, r := p.dial(t)
	io.WriteString(c, text)
	method, _, _ := strings.Cut(text, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

// reset ends a connection so that the other side sees it lost.
func reset(c net.Conn) {
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// unreachable is an address that refuses connections.
func unreachable(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// h2Client returns a client that speaks HTTP/2 in clear text, and nothing else.
func h2Client(t testing.TB) *http.Client {
	t.Helper()
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: only}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 60 * time.Second}
}
