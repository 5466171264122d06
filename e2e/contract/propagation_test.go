package contract

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

const (
	theirTrace  = "0af7651916cd43dd8448eb211c80319c"
	theirParent = "00-" + theirTrace + "-b7ad6b7169203331-01"
)

// TestTracestate_IsOneList: over several lines, with members that are empty, blank or doubled.
func TestTracestate_IsOneList(t *testing.T) {
	t.Parallel()
	tests := []struct {
		path  string
		lines []string
		want  string
	}{
		{"/several-lines", []string{"a=1", "b=2,c=3"}, "a=1,b=2,c=3"},
		{"/empty-members", []string{"a=1,,b=2,", " , "}, "a=1,b=2"},
		{"/a-key-twice", []string{"a=1,b=2", "a=3"}, "a=1,b=2"},
		{"/nothing", []string{"", ","}, ""},
	}
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, upstreams(b))
		for _, tt := range tests {
			req := p.Request("GET", tt.path, "", "Traceparent", theirParent)
			req.Header["Tracestate"] = tt.lines
			wantStatus(t, pacetest.Do(mode.Client(t), req), 200)
			got := b.WantGot(1, tt.path)[0].Header
			if state := strings.Join(got.Values("Tracestate"), " | "); state != tt.want || !strings.Contains(got.Get("Traceparent"), theirTrace) {
				t.Errorf("%s: the backend got tracestate %q in %s, want %q", tt.path, state, got.Get("Traceparent"), tt.want)
			}
			if server := pacetest.WantTrace(spans, 1, pacetest.Path(tt.path)).Server; server.TraceState != tt.want || server.TraceID != theirTrace {
				t.Errorf("%s: the span has tracestate %q in %s", tt.path, server.TraceState, server.TraceID)
			}
		}
	})
}

// TestTraceparent_TwiceBeginsANewTrace: pace cannot know which of them is right.
func TestTraceparent_TwiceBeginsANewTrace(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p, spans := pacetest.StartTraced(t, upstreams(b))
		for path, lines := range map[string][]string{
			"/other": {theirParent, "00-11111111111111111111111111111111-b7ad6b7169203331-01"}, "/same": {theirParent, theirParent}, "/joined": {theirParent + "," + theirParent},
		} {
			req := p.Request("GET", path, "", "Tracestate", "a=1")
			req.Header["Traceparent"] = lines
			response := pacetest.Do(mode.Client(t), req)
			wantStatus(t, response, 200)
			got := b.WantGot(1, path)[0].Header
			id, _, _ := pacetest.Traceparent(got.Get("Traceparent"))
			if n := len(got.Values("Traceparent")); n != 1 || id == theirTrace || strings.Count(id, "1") == 32 || got.Get("Tracestate") != "" || id != response.Header.Get("X-Trace-Id") {
				t.Errorf("%s: the backend got %d traceparents, %s, tracestate %q", path, n, got.Get("Traceparent"), got.Get("Tracestate"))
			}
			if server := pacetest.WantTrace(spans, 1, pacetest.Path(path)).Server; server.TraceID != id || server.ParentID != "" {
				t.Errorf("%s: the span is in trace %s with parent %q, want a root in %s", path, server.TraceID, server.ParentID, id)
			}
		}
	})
}

// TestEnvironment_PropagatorsLoseAndLeaveNothing: pace never forwards a client's trace fields, in any encoding,
// next to its own. It forwards the client's baggage unchanged.
func TestEnvironment_PropagatorsLoseAndLeaveNothing(t *testing.T) {
	t.Parallel()
	contexts := map[string]string{
		"Traceparent": theirParent, "Tracestate": "a=1", "B3": theirTrace + "-b7ad6b7169203331-1",
		"X-B3-Traceid": theirTrace, "X-B3-Spanid": "b7ad6b7169203331", "X-B3-Parentspanid": "05e3ac9a4f6e3b90", "X-B3-Sampled": "1",
		"Uber-Trace-Id": theirTrace + ":b7ad6b7169203331:0:1", "X-Amzn-Trace-Id": "Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331;Sampled=1",
		"Ot-Tracer-Traceid": theirTrace, "Ot-Tracer-Spanid": "b7ad6b7169203331", "Ot-Tracer-Sampled": "true",
	}
	baggage := http.Header{
		"Baggage": {"a=1;p=q, not a member", "b=" + strings.Repeat("x", 9000)}, "Ot-Baggage-User": {"alice"}, "Uberctx-User": {"alice"},
	}
	for value, writes := range map[string][]string{
		"b3": {"B3"}, "b3multi,baggage": {"X-B3-Traceid", "X-B3-Spanid", "X-B3-Sampled"}, "jaeger,baggage": {"Uber-Trace-Id"}, "xray": {"X-Amzn-Trace-Id"},
		"ottrace,baggage": {"Ot-Tracer-Traceid", "Ot-Tracer-Spanid", "Ot-Tracer-Sampled"}, "tracecontext,baggage,b3": {"Traceparent", "B3"},
		"": {"Traceparent", "Tracestate"}, "none": nil, "baggage": nil,
	} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, upstreams(b), "OTEL_PROPAGATORS="+value)
		pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
			req := p.Request("GET", "/"+string(mode), "")
			for name, v := range contexts {
				req.Header.Set(name, v)
			}
			maps.Copy(req.Header, baggage)
			response := pacetest.Do(mode.Client(t), req)
			wantStatus(t, response, 200)
			got := b.WantGot(1, "/"+string(mode))[0].Header
			for name, lines := range baggage {
				if !slices.Equal(got[name], lines) {
					t.Errorf("%q: %s = %.60q, want what the client sent", value, name, got[name])
				}
			}
			for name, theirs := range contexts {
				v := got.Values(name)
				switch {
				case slices.Contains(writes, name):
					if len(v) != 1 || strings.Contains(v[0], "b7ad6b7169203331") {
						t.Errorf("%q: %s = %q, want pace's alone", value, name, v)
					}
				case value == "" && name != "Traceparent" && name != "Tracestate", writes == nil: // nobody's business here
					if len(v) != 1 || v[0] != theirs {
						t.Errorf("%q: %s = %q, want what the client sent", value, name, v)
					}
				case len(v) > 0:
					t.Errorf("%q: %s = %q went on", value, name, v)
				}
			}
		})
	}
}
