package contract

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// TestOwnAnswer_PlainText: a sentence, the outcome and the trace id, one a line, for whom nothing else is better.
func TestOwnAnswer_PlainText(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		closed := pacetest.NewClosed(t)
		p := pacetest.Start(t, upstreams(closed))
		for _, accept := range []string{"", "*/*", "text/html;q=0.5, */*;q=0.8", "text/plain, application/json;q=0.5"} {
			got := getAccepting(t, p, mode, accept)
			if !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("Accept %q: Content-Type = %q", accept, got.Header.Get("Content-Type"))
			}
			want := regexp.MustCompile(`\A[A-Z][^\n]+\.\nOutcome: connect_failed\nTrace: ` + got.Header.Get("X-Trace-Id") + `\n\z`)
			if !want.MatchString(got.Body) || strings.Contains(got.Body, "127.0.0.1") {
				t.Errorf("Accept %q: body %q, want %v without an address", accept, got.Body, want)
			}
		}
	})
}

func getAccepting(t *testing.T, p *pacetest.Pace, mode pacetest.Mode, accept string) pacetest.Response {
	t.Helper()
	req := p.Request("GET", "/x", "")
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	got := pacetest.Do(mode.Client(t), req)
	wantStatus(t, got, 502)
	wantProxyStatus(t, got, "connection_refused")
	return got
}

// TestOwnAnswer_PageForABrowser: it stands alone, tells no more than the text does, and nothing that the
// client sent is in it.
func TestOwnAnswer_PageForABrowser(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		p := pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
		got := getAccepting(t, p, mode, "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8")
		if got.Header.Get("Content-Type") != "text/html; charset=utf-8" || !strings.HasPrefix(got.Body, "<!DOCTYPE html>\n") || !strings.HasSuffix(got.Body, "</html>\n") {
			t.Errorf("Content-Type %q, body\n%s", got.Header.Get("Content-Type"), got.Body)
		}
		for _, part := range []string{"<h1>502 Bad Gateway</h1>", ">connect_failed<", ">" + got.Header.Get("X-Trace-Id") + "<"} {
			if strings.Count(got.Body, part) != 1 {
				t.Errorf("%s is not once in\n%s", part, got.Body)
			}
		}
		for _, part := range []string{"<script", "src=", "href=", "url(", "127.0.0.1", "dial", "refused"} {
			if strings.Contains(got.Body, part) {
				t.Errorf("%s is in\n%s", part, got.Body)
			}
		}
	})
}

func TestOwnAnswer_JSONIfPreferred(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
	for _, accept := range []string{"application/json", "application/json, text/plain;q=0.9", "text/plain;q=0.2, application/json"} {
		got := p.Get("/x", "Accept", accept)
		wantStatus(t, got, 502)
		wantJSON(t, got, 502, "connect_failed")
		if !strings.HasSuffix(got.Body, "}\n") {
			t.Errorf("the body %q does not end in a newline", got.Body)
		}
	}
}

func wantJSON(t *testing.T, got pacetest.Response, status int, outcome string) {
	t.Helper()
	var body map[string]any
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil || !strings.HasPrefix(got.Header.Get("Content-Type"), "application/json") {
		t.Fatalf("%s %q is not JSON: %v", got.Header.Get("Content-Type"), got.Body, err)
	}
	if len(body) != 4 || body["status"] != float64(status) || body["outcome"] != outcome || body["trace_id"] != got.Header.Get("X-Trace-Id") || body["trace"] != "dropped" {
		t.Errorf("body %v, want status %d, outcome %s, trace_id %s, and a trace that without an exporter is dropped", body, status, outcome, got.Header.Get("X-Trace-Id"))
	}
}

func TestOwnAnswer_HEADHasNoBody(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
	for _, accept := range []string{"text/plain", "text/html", "application/json"} {
		w := p.Wire()
		w.Send("HEAD /x HTTP/1.1\r\nHost: x\r\nAccept: " + accept + "\r\nConnection: close\r\n\r\n")
		got := w.Head("HEAD")
		if got.StatusCode != 502 || !strings.HasPrefix(got.Header.Get("Content-Type"), accept) {
			t.Errorf("%s: status %d, Content-Type %q", accept, got.StatusCode, got.Header.Get("Content-Type"))
		}
		if whole := p.Get("/x", "Accept", accept); got.ContentLength != int64(len(whole.Body)) {
			t.Errorf("%s: Content-Length %d, a GET has %d bytes", accept, got.ContentLength, len(whole.Body))
		}
		if rest, err := w.Rest(); rest != "" || err != nil {
			t.Errorf("%s: a body follows the header: %q, %v", accept, rest, err)
		}
	}
}

func TestRejection_IsExactly(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		cfg := upstreams(b)
		cfg["rate_limit"] = pacetest.Table{"max_requests": 2, "window_seconds": 30}
		p := pacetest.Start(t, cfg)
		c := mode.Client(t)
		began := time.Now()
		for range 2 {
			wantStatus(t, pacetest.Do(c, p.Request("GET", "/x", "")), 200)
		}
		got := pacetest.Do(c, p.Request("GET", "/rejected", ""))
		wantStatus(t, got, 429)
		if got.Body != "Too Many Requests" || !strings.HasPrefix(got.Header.Get("Content-Type"), "text/plain") {
			t.Errorf("body %q, Content-Type %q", got.Body, got.Header.Get("Content-Type"))
		}
		reset, err := strconv.Atoi(got.Header.Get("X-Rate-Limit-Reset"))
		if minimum := 30 - int(time.Since(began).Seconds()) - 1; err != nil || reset < minimum || reset > 30 {
			t.Errorf("X-Rate-Limit-Reset = %q, want %d to 30", got.Header.Get("X-Rate-Limit-Reset"), minimum)
		}
		for name, want := range map[string]string{
			"X-Rate-Limit-Limit": "2", "X-Rate-Limit-Remaining": "0", "Retry-After": strconv.Itoa(reset),
			"Proxy-Status": `pace; error=http_request_denied; details="rate_limited"`, "X-Backend": "", "Via": "1.1 pace",
		} {
			if v := got.Header.Get(name); v != want {
				t.Errorf("%s = %q, want %q", name, v, want)
			}
		}
		wantJSON(t, pacetest.Do(c, p.Request("GET", "/rejected", "", "Accept", "application/json")), 429, "rate_limited")
		browsed := pacetest.Do(c, p.Request("GET", "/rejected", "", "Accept", "text/html"))
		if wantStatus(t, browsed, 429); !strings.Contains(browsed.Body, "<h1>429 Too Many Requests</h1>") || browsed.Header.Get("Retry-After") == "" {
			t.Errorf("a browser got %v\n%s", browsed.Header, browsed.Body)
		}
		if n := len(b.Got("/rejected")); n != 0 {
			t.Errorf("the backend got %d rejected requests", n)
		}
	})
}

func TestRejection_PlaceIsFreeWhenItSaysAndNotBefore(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := upstreams(b)
	cfg["rate_limit"] = pacetest.Table{"max_requests": 2, "window_seconds": 2}
	p := pacetest.Start(t, cfg)
	first := time.Now()
	wantStatus(t, p.Get("/first"), 200)
	wantStatus(t, p.Get("/second"), 200)
	rejected, responded := 0, time.Time{}
	pacetest.Eventually(t, func() error {
		got := p.Get("/next")
		responded = time.Now()
		if got.Status == 200 {
			return nil
		}
		rejected++
		if reset := got.Header.Get("X-Rate-Limit-Reset"); reset != "1" && reset != "2" {
			t.Errorf("X-Rate-Limit-Reset = %q within a window of 2 s", reset)
		}
		return errRejected
	})
	if rejected == 0 || responded.Sub(first) < 2*time.Second {
		t.Errorf("the third request passed after %v and %d rejections: before the window's end", responded.Sub(first), rejected)
	}
	if len(b.Got("/next")) != 1 {
		t.Errorf("the backend got %d of the rejected requests", len(b.Got("/next")))
	}
}

func TestLimiter_Keys(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		first, second string
		shared        bool
	}{
		"one address":                         {"203.0.113.7", "203.0.113.7", true},
		"two addresses":                       {"203.0.113.7", "203.0.113.8", false},
		"IPv6 in one /64":                     {"2001:db8::1", "2001:db8::ffff:2", true},
		"IPv6 in two /64":                     {"2001:db8::1", "2001:db8:0:1::1", false},
		"IPv4-mapped is IPv4":                 {"::ffff:203.0.113.7", "203.0.113.7", true},
		"left of the client anyone may write": {"1.1.1.1, 203.0.113.7", "2.2.2.2, 203.0.113.7", true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
			cfg["rate_limit"] = pacetest.Table{"max_requests": 1}
			p := pacetest.Start(t, set(cfg, "server", "trusted_proxies", []string{"127.0.0.0/8"}))
			wantStatus(t, p.Get("/x", "X-Forwarded-For", tt.first), 200)
			want := map[bool]int{true: 429, false: 200}[tt.shared]
			wantStatus(t, p.Get("/x", "X-Forwarded-For", tt.second), want)
			p.WantMetric(map[bool]float64{true: 1, false: 2}[tt.shared], "pace_limiter_keys", "policy", "default")
		})
	}
}

func TestLimiter_KeepsAtMostMaxKeys(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["rate_limit"] = pacetest.Table{"max_requests": 1, "max_keys": 100}
	p := pacetest.Start(t, set(cfg, "server", "trusted_proxies", []string{"127.0.0.0/8"}))
	c := pacetest.H1.Client(t)
	for i := range 500 {
		address := "10.0." + strconv.Itoa(i/250) + "." + strconv.Itoa(i%250)
		wantStatus(t, pacetest.Do(c, p.Request("GET", "/x", "", "X-Forwarded-For", address)), 200)
	}
	if keys := p.Metrics().Sum("pace_limiter_keys"); keys < 1 || keys > 100 {
		t.Errorf("pace_limiter_keys = %v after 500 clients, want at most 100", keys)
	}
	// Each client's request still counts for a minute: addresses that are not a key were forgotten.
	m := p.Metrics()
	if keys, evicted := m.Sum("pace_limiter_keys"), m.Sum("pace_limiter_evicted_total", "policy", "default"); keys+evicted != 500 {
		t.Errorf("%v keys and %v evicted of 500 clients", keys, evicted)
	}
}

func TestLimiter_SwitchedOffOrAbsent(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	off := upstreams(b)
	off["rate_limit"] = pacetest.Table{"enabled": false, "max_requests": 1}
	for name, cfg := range map[string]pacetest.Config{"off": off, "absent": upstreams(b)} {
		p := pacetest.Start(t, cfg)
		for range 15 {
			if got := p.Get("/x"); got.Status != 200 {
				t.Fatalf("%s: status %d", name, got.Status)
			}
		}
	}
}

func TestLimiter_DefaultIsTenAMinute(t *testing.T) {
	t.Parallel()
	cfg := upstreams(pacetest.NewBackend(t, pacetest.Fine))
	cfg["rate_limit"] = pacetest.Table{}
	p := pacetest.Start(t, cfg)
	for range 10 {
		wantStatus(t, p.Get("/x"), 200)
	}
	got := p.Get("/x")
	wantStatus(t, got, 429)
	if v := got.Header.Get("X-Rate-Limit-Limit"); v != "10" {
		t.Errorf("X-Rate-Limit-Limit = %q", v)
	}
}
