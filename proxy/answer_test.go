package proxy

import (
	"encoding/json"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"pace/limiter"
	"pace/telemetry"
)

func TestPrefersJSON(t *testing.T) {
	for accept, want := range map[string]bool{
		"": false, "*/*": false, "text/html": false, "text/plain": false,
		"application/json":                             true,
		"Application/JSON":                             true,
		"application/json, text/plain":                 false, // as good as the other
		"application/json;q=0.9, text/plain":           false,
		"application/json, text/plain;q=0.9":           true,
		"application/json;q=0":                         false,
		"application/json;q=0.1":                       true, // plain text is not acceptable at all
		"application/*":                                true,
		"text/*, application/*;q=0.5":                  false,
		"*/*, text/plain;q=0.5":                        true, // the more specific range holds
		"*/*;q=0.1, text/plain;q=0.5":                  false,
		"application/json;q=0.5, */*;q=0.1":            true,
		"text/plain;q=0, */*":                          true,
		"application/json; charset=utf-8 ; Q=0.3":      true,
		"application/json;q=2":                         false, // no weight, so none
		"application/json;q=-1":                        false,
		"application/json;q=NaN":                       false,
		"application/json;q=x, text/plain;q=0.1":       false,
		" , application/json ,":                        true,
		"application/problem+json":                     false,
		"text/html,application/xhtml+xml,*/*;q=0.8":    false,
		"application/json;version=1;q=0.4,*/*;q=0.3":   true,
		"application/json;q=0.4;x=\"a,b\", text/*;q=1": false,
	} {
		if got := prefersJSON([]string{accept}); got != want {
			t.Errorf("Accept: %s: got %v, want %v", accept, got, want)
		}
	}
	if prefersJSON(nil) || !prefersJSON([]string{"text/plain;q=0.1", "application/json"}) {
		t.Error("no field, and two fields")
	}
}

func TestWholeSeconds(t *testing.T) {
	for d, want := range map[time.Duration]int64{
		-time.Second: 1, 0: 1, 1: 1, time.Second: 1, time.Second + 1: 2, 59*time.Second + 999*time.Millisecond: 60,
		math.MaxInt64: 9223372037,
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

// What pace says in its own name: the word, the trace, and the fields of interface.md.
func TestOwnAnswers(t *testing.T) {
	p := start(t, nil, unreachable(t))
	for name, tt := range map[string]struct {
		method, accept, kind string
	}{
		"plain text":                    {"GET", "", "text/plain; charset=utf-8"},
		"JSON for those who prefer it":  {"GET", "Accept: application/json\r\n", "application/json"},
		"a HEAD gets the header alone":  {"HEAD", "", "text/plain; charset=utf-8"},
		"also of what would be in JSON": {"HEAD", "Accept: application/json\r\n", "application/json"},
	} {
		t.Run(name, func(t *testing.T) {
			r, body := p.ask(t, tt.method+" / HTTP/1.1\r\nHost: x\r\n"+tt.accept+"\r\n")
			h := r.Header
			if r.StatusCode != 502 || h.Get("Content-Type") != tt.kind || h.Get("Proxy-Status") != "pace; error=connection_refused" ||
				h.Get("Cache-Control") != "no-store" || h.Get("Via") != "1.1 pace" || h.Get("X-Backend") != "" || len(h.Get("X-Request-Id")) != 32 {
				t.Errorf("got %d %v", r.StatusCode, h)
			}
			trace := h.Get("X-Trace-Id")
			want := "connect_failed " + trace + "\n"
			if tt.accept != "" {
				want = `{"status":502,"outcome":"connect_failed","trace_id":"` + trace + "\"}\n"
				if tt.method == "GET" && !json.Valid([]byte(body)) {
					t.Errorf("not JSON: %s", body)
				}
			}
			if r.ContentLength != int64(len(want)) {
				t.Errorf("length %d, want %d", r.ContentLength, len(want))
			}
			if tt.method == "HEAD" {
				want = ""
			}
			if body != want || len(trace) != 32 {
				t.Errorf("got %q, want %q", body, want)
			}
		})
	}
}

// The older proxy's answer to those who ask too often.
func TestLimitedAnswer(t *testing.T) {
	p := start(t, func(o *Options) {
		o.Limit = &Limit{Policy: "default", Window: limiter.NewWindow(limiter.Options{Max: 2, Per: time.Minute}), Per: time.Minute}
	}, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") }))
	for range 2 {
		get(t, p.URL)
	}
	r, body := get(t, p.URL)
	h := r.Header
	if r.StatusCode != 429 || body != "Too Many Requests" || h.Get("X-Rate-Limit-Limit") != "2" || h.Get("X-Rate-Limit-Remaining") != "0" ||
		h.Get("X-Rate-Limit-Reset") != "60" || h.Get("Retry-After") != "60" || h.Get("Proxy-Status") != "pace; error=http_request_denied" {
		t.Errorf("got %d %q %v", r.StatusCode, body, h)
	}
	l := p.lines(t, 3)[2]
	if l["outcome"] != "rate_limited" || l["attempts"] != 0.0 || l["upstream"] != nil || l["level"] != "WARN" {
		t.Errorf("got %v", l)
	}
	if n := p.metric(t, telemetry.MetricRejections, "reason", "rate_limited"); n != 1 {
		t.Errorf("%v rejections, want 1", n)
	}
}

// Fields that are switched off are not there.
func TestFieldsAreOff(t *testing.T) {
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) })
	p := start(t, func(o *Options) { o.ProxyName, o.BackendName, o.TraceName = "", "", "" }, backend)
	r, seen := get(t, p.URL)
	for name := range r.Header {
		if name == "" || name == "X-Backend" || name == "X-Trace-Id" {
			t.Errorf("the client got %q", name)
		}
	}
	if r.StatusCode != 200 || strings.Count(seen, "pace") != 1 || !strings.Contains(seen, "Via: 1.1 pace\r\n") {
		t.Errorf("got %d, the backend %q", r.StatusCode, seen)
	}
}

// A name written in small letters is the same name: what the backend sends of it is replaced.
func TestFieldNamesHaveNoCase(t *testing.T) {
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Trace-Id"], w.Header()["X-Backend"] = []string{"forged"}, []string{"forged"}
		r.Header.Write(w)
	})
	p := start(t, func(o *Options) { o.ProxyName, o.BackendName, o.TraceName = "x-proxy", "x-backend", "x-trace-id" }, backend)
	r, seen := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Proxy: forged\r\n\r\n")
	if len(r.Header["X-Trace-Id"]) != 1 || len(r.Header["X-Trace-Id"][0]) != 32 || len(r.Header["X-Backend"]) != 1 || strings.Contains(seen, "forged") {
		t.Errorf("the client got %v, the backend %q", r.Header, seen)
	}
}
