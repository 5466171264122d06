package proxy

import (
	"encoding/json"
	"html"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/limiter"
	"pace/proxy/message"
	"pace/telemetry"
	"pace/telemetry/metrics"
)

func TestWholeSeconds(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]int64{
		-time.Second: 1, 0: 1, 1: 1, time.Second: 1, time.Second + 1: 2, 59*time.Second + 999*time.Millisecond: 60,
		math.MaxInt64: 9223372037,
	} {
		if got := wholeSeconds(d); got != want {
			t.Errorf("%v: got %d, want %d", d, got, want)
		}
	}
}

// What pace says in its own name: a sentence, the word, the trace, and the fields of interface.md.
func TestOwnAnswers(t *testing.T) {
	t.Parallel()
	p := start(t, nil, unreachable(t))
	const sentence = "The proxy could not connect to the backend."
	for _, tt := range []struct {
		name, method, accept, kind string
	}{
		{"plain text", "GET", "", "text/plain; charset=utf-8"},
		{"JSON for those who prefer it", "GET", "application/json", "application/json"},
		{"a page for a browser", "GET", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html; charset=utf-8"},
		{"a HEAD gets the header alone", "HEAD", "", "text/plain; charset=utf-8"},
		{"also of what would be in JSON", "HEAD", "application/json", "application/json"},
		{"also of what would be a page", "HEAD", "text/html", "text/html; charset=utf-8"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, body := p.ask(t, tt.method+" / HTTP/1.1\r\nHost: x\r\nAccept: "+tt.accept+"\r\n\r\n")
			h := r.Header
			if r.StatusCode != 502 || h.Get("Content-Type") != tt.kind || h.Get("Proxy-Status") != `pace; error=connection_refused; details="connect_failed"` ||
				h.Get("Cache-Control") != "no-store" || h.Get("Via") != "1.1 pace" || h.Get("X-Backend") != "" || len(h.Get("X-Request-Id")) != 32 {
				t.Errorf("got %d %v", r.StatusCode, h)
			}
			trace := h.Get("X-Trace-Id")
			want := sentence + "\nOutcome: connect_failed\nTrace: " + trace + "\n"
			switch tt.kind {
			case "application/json":
				want = `{"status":502,"outcome":"connect_failed","trace_id":"` + trace + `","trace":"dropped"}` + "\n"
			case "text/html; charset=utf-8":
				want = errorPage(telemetry.ConnectFailed.Info(), trace)
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

// Each form says the same of each outcome that pace answers itself, ends in a newline, and names no
// address.
func TestResponseBody_OfEveryOutcome(t *testing.T) {
	t.Parallel()
	const trace = "0af7651916cd43dd8448eb211c80319c"
	for _, o := range telemetry.Outcomes() {
		if o.Sentence == "" {
			continue
		}
		for _, f := range []message.Form{message.PlainText, message.HTML, message.JSON} {
			body, kind := responseBody(&o, trace, telemetry.Kept, f)
			for _, part := range []string{o.Word, trace} {
				if strings.Count(body, part) != 1 {
					t.Errorf("%s as %s: %q stands there %d times, want once:\n%s", o.Word, kind, part, strings.Count(body, part), body)
				}
			}
			if !strings.HasSuffix(body, "\n") || f != message.JSON && strings.Count(body, html.EscapeString(o.Sentence)) != 1 {
				t.Errorf("%s as %s: got\n%s", o.Word, kind, body)
			}
			if f == message.JSON && !json.Valid([]byte(body)) {
				t.Errorf("%s: not JSON: %s", o.Word, body)
			}
		}
	}
}

// A page in which something asks for more, or could run, is not what a proxy may put in place of a site.
func TestErrorPage_IsInert(t *testing.T) {
	t.Parallel()
	o := telemetry.OutcomeInfo{Word: "<b>", Status: 502, Sentence: `<script>alert("x")</script> & {trace} 'y'`}
	got := errorPage(&o, `"><img src=x>{title}`)
	for _, bad := range []string{"<script", "<b>", "<img", "src=", "href=", "url(", "@import", "onload"} {
		if strings.Contains(strings.ReplaceAll(got, "&lt;img src=x", ""), bad) {
			t.Errorf("%q is in the page:\n%s", bad, got)
		}
	}
	if strings.Count(got, "502 Bad Gateway") != 2 || !strings.Contains(got, "{trace}") || !strings.Contains(got, "{title}") {
		t.Errorf("values are replaced once more:\n%s", got)
	}
}

// The older proxy's answer to those who ask too often.
func TestLimitedAnswer(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *setup) {
		o.Limit = &Limit{Policy: "default", Window: limiter.NewWindow(limiter.Options{Max: 2, Per: time.Minute}), Per: time.Minute}
	}, origin(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") }))
	began := time.Now()
	for range 2 {
		get(t, p.URL)
	}
	r, body := get(t, p.URL)
	h := r.Header
	reset, _ := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if earliest := wholeSeconds(time.Minute - time.Since(began)); reset < earliest || reset > 60 { // 60, unless more than a second has passed
		t.Errorf("X-Rate-Limit-Reset is %q, want %d to 60", h.Get("X-Rate-Limit-Reset"), earliest)
	}
	if r.StatusCode != 429 || body != "Too Many Requests" || h.Get("X-Rate-Limit-Limit") != "2" || h.Get("X-Rate-Limit-Remaining") != "0" ||
		h.Get("Retry-After") != h.Get("X-Rate-Limit-Reset") || h.Get("Proxy-Status") != `pace; error=http_request_denied; details="rate_limited"` {
		t.Errorf("got %d %q %v", r.StatusCode, body, h)
	}
	l := p.lines(t, 3)[2]
	if l["outcome"] != "rate_limited" || l["attempts"] != 0.0 || l["upstream"] != nil || l["level"] != "WARN" {
		t.Errorf("got %v", l)
	}
	if n := p.metric(t, metrics.Rejections.Name, "reason", "rate_limited"); n != 1 {
		t.Errorf("%v rejections, want 1", n)
	}
}

// Fields that are switched off are not there.
func TestFieldsAreOff(t *testing.T) {
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) { r.Header.Write(w) })
	p := start(t, func(o *setup) { o.ProxyName, o.BackendName, o.TraceName = "", "", "" }, backend)
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
	t.Parallel()
	backend := origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Trace-Id"], w.Header()["X-Backend"] = []string{"forged"}, []string{"forged"}
		r.Header.Write(w)
	})
	p := start(t, func(o *setup) { o.ProxyName, o.BackendName, o.TraceName = "x-proxy", "x-backend", "x-trace-id" }, backend)
	r, seen := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Proxy: forged\r\n\r\n")
	if len(r.Header["X-Trace-Id"]) != 1 || len(r.Header["X-Trace-Id"][0]) != 32 || len(r.Header["X-Backend"]) != 1 || strings.Contains(seen, "forged") {
		t.Errorf("the client got %v, the backend %q", r.Header, seen)
	}
}
