package contract

import (
	"fmt"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// mirrored is a configuration whose route copies all requests from one upstream to another.
func mirrored(live, shadow *pacetest.Backend, more ...any) pacetest.Config {
	r := pacetest.Table{"match": "/", "upstream": "live", "mirror": "shadow"}
	for i := 0; i < len(more); i += 2 {
		r[more[i].(string)] = more[i+1]
	}
	return pacetest.Config{
		"upstream.live":   pacetest.Upstreams(live),
		"upstream.shadow": pacetest.Upstreams(shadow),
	}.WithRoutes(r)
}

// TestMirror_GetsWhatTheBackendGets: the same request reaches both, but for the field of its trace.
func TestMirror_GetsWhatTheBackendGets(t *testing.T) {
	t.Parallel()
	echo := func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) }
	live, shadow := pacetest.NewBackend(t, echo), pacetest.NewBackend(t, echo)
	p, spans := pacetest.StartTraced(t, mirrored(live, shadow, "strip_prefix", "/api", "request_headers",
		pacetest.Table{"set": pacetest.Table{"X-Tenant": "7"}}))
	for _, tt := range []struct{ method, path, target, body string }{
		{"GET", "/api/a%2Fb?c=d", "/a%2Fb?c=d", ""},
		{"POST", "/api/form", "/form", "a=b"},
		{"PUT", "/api/large", "/large", strings.Repeat("x", 60_000)},
	} {
		got := p.Send(tt.method, tt.path, tt.body, "X-Mine", "yes", "Host", "shop.example")
		wantStatus(t, got, 200)
		if got.Header.Get("X-Backend") != live.Name() {
			t.Errorf("%s: the response is that of %s", tt.path, got.Header.Get("X-Backend"))
		}
		trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
		if len(trace.Clients) != 1 || len(trace.Server.Events) != 1 || trace.Server.Events[0].Name != "pace.mirrored" ||
			trace.Server.Events[0].Attrs["pace.upstream"] != "shadow" {
			t.Errorf("%s: %d CLIENT spans, and the events are %+v", tt.path, len(trace.Clients), trace.Server.Events)
		}
		mirror := wantMirrorSpan(spans, trace.Server) // from here on the mirror has read it all
		a, b := live.WantGot(1, tt.target)[0], shadow.WantGot(1, tt.target)[0]
		if a.Method != b.Method || a.Host != b.Host || string(a.Body) != string(b.Body) || string(b.Body) != tt.body || b.BodyErr != nil {
			t.Errorf("%s: the backend got %s for %s with %d bytes, the mirror %s for %s with %d", tt.path, a.Method, a.Host, len(a.Body), b.Method, b.Host, len(b.Body))
		}
		for name := range a.Header {
			if name != "Traceparent" && fmt.Sprint(a.Header[name]) != fmt.Sprint(b.Header[name]) {
				t.Errorf("%s: the backend got %s: %q, the mirror %q", tt.path, name, a.Header[name], b.Header[name])
			}
		}
		wantAttr(t, mirror.Attrs, "http.response.status_code", 200)
		wantAttr(t, mirror.Attrs, "server.port", shadow.Port())
		path, _, _ := strings.Cut(tt.target, "?")
		for address, client := range map[string]otlp.Span{live.Address(): trace.Clients[0], shadow.Address(): mirror} {
			if url := fmt.Sprint(client.Attrs["url.full"]); !strings.HasPrefix(url, "http://"+address+path) {
				t.Errorf("%s: url.full is %s, want that of %s at %s", tt.path, url, path, address)
			}
		}
		if trace, span, _ := pacetest.Traceparent(b.Header.Get("Traceparent")); trace != mirror.TraceID || span != mirror.SpanID {
			t.Errorf("%s: the mirror got the traceparent %q, its span is %s in %s", tt.path, b.Header.Get("Traceparent"), mirror.SpanID, mirror.TraceID)
		}
	}
	p.WantMetric(3, "http_server_request_duration_seconds_count")
	p.WantMetric(3, "http_client_request_duration_seconds_count", "pace_upstream", "live")
	p.WantMetric(3, "http_client_request_duration_seconds_count", "pace_upstream", "shadow")
	p.WantAccess("/api/large")
	if got := len(p.Lines("request")); got != 3 {
		t.Errorf("%d access lines, want 3", got)
	}
}

// wantMirrorSpan waits for the span of the copy of a request.
func wantMirrorSpan(r *otlp.Recv, server otlp.Span) (mirror otlp.Span) {
	r.Wait(func(spans []otlp.Span) bool {
		for _, s := range spans {
			if s.Attrs["pace.mirror"] == true && len(s.Links) == 1 && s.Links[0].TraceID == server.TraceID && s.Links[0].SpanID == server.SpanID {
				mirror = s
				return s.Kind == otlp.Client && s.ParentID == ""
			}
		}
		return false
	})
	return mirror
}

// TestMirror_DelaysNobody: a mirror that hangs, fails or is down changes nothing for clients, and what it cannot
// take is dropped and counted.
func TestMirror_DelaysNobody(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	defer close(open)
	live, hanging := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, mirrored(live, hanging))
	const n, running = 100, 64
	for range n {
		wantStatus(t, p.Get("/x"), 200)
	}
	hanging.WantGot(running, "/x")
	p.WantMetric(n-running, "pace_mirror_dropped_total", "reason", "busy")
	p.WantMetric(n, "pace_requests_total", "pace_outcome", "ok")

	down := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, mirrored(live, down))
	down.Kill()
	got := p.Send("POST", "/y", "body")
	wantStatus(t, got, 200)
	trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
	mirror := wantMirrorSpan(spans, trace.Server)
	wantAttr(t, mirror.Attrs, "error.type", "connect_failed")
	p.WantMetric(1, "pace_requests_total", "pace_outcome", "ok")
}

// TestMirror_DropsLargeBodies: a body that is too large for a copy reaches the backend whole.
func TestMirror_DropsLargeBodies(t *testing.T) {
	t.Parallel()
	echo := func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) }
	live, shadow := pacetest.NewBackend(t, echo), pacetest.NewBackend(t, echo)
	p := pacetest.Start(t, mirrored(live, shadow))
	large := strings.Repeat("x", 64<<10+1)
	wantStatus(t, p.Send("POST", "/announced", large), 200)
	w := p.Wire()
	w.Send(fmt.Sprintf("POST /chunked HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(large), large))
	wantStatus(t, w.Response("POST"), 200)
	for _, target := range []string{"/announced", "/chunked"} {
		if got := live.WantGot(1, target)[0]; string(got.Body) != large || got.BodyErr != nil {
			t.Errorf("%s: the backend got %d bytes, %v", target, len(got.Body), got.BodyErr)
		}
	}
	p.WantMetric(2, "pace_mirror_dropped_total", "reason", "body_too_large")
	wantStatus(t, p.Send("POST", "/small", "x"), 200)
	shadow.WantGot(1, "/small")
	if got := shadow.Requests(); len(got) != 1 {
		t.Errorf("the mirror got %d requests, want the small one", len(got))
	}
}

// TestMirror_Share copies no request with a share of 0, and about half of them with 0.5.
func TestMirror_Share(t *testing.T) {
	t.Parallel()
	live, shadow := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, mirrored(live, shadow, "mirror_share", 0.0))
	for range 20 {
		wantStatus(t, p.Get("/none"), 200)
	}
	if got := len(shadow.Requests()); got != 0 {
		t.Errorf("the mirror got %d requests of a share of 0", got)
	}
	p.Reload(mirrored(live, shadow, "mirror_share", 0.5))
	const n, few, many = 200, 50, 150 // seven standard deviations from the half
	for range n {
		wantStatus(t, p.Get("/half"), 200)
	}
	pacetest.Eventually(t, func() error {
		if got := len(shadow.Requests()); got < few {
			return notYet("the mirror has %d of %d requests, want about half", got, n)
		}
		return nil
	})
	if got := len(shadow.Requests()); got > many {
		t.Errorf("the mirror got %d of %d requests, want about half", got, n)
	}
}
