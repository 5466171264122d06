package contract

import (
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// TestBackendOfHTTP10_IsCalledOne: in the response's Via, and in the span of the attempt.
func TestBackendOfHTTP10_IsCalledOne(t *testing.T) {
	t.Parallel()
	bodies := map[string]string{
		"/length":  "HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nfine",
		"/close":   "HTTP/1.0 200 OK\r\n\r\nfine",
		"/kept":    "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nfine",
		"/through": "HTTP/1.0 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 4\r\n\r\nfine",
		"/one-one": "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine",
	}
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("%s", bodies[x.Target])
			if x.Target != "/kept" && x.Target != "/one-one" {
				x.Close()
			}
		})
		p, spans := pacetest.StartTraced(t, upstreams(b))
		for path, response := range bodies {
			got := pacetest.Do(mode.Client(t), p.Request("GET", path, ""))
			wantStatus(t, got, 200)
			version := strings.TrimPrefix(strings.Fields(response)[0], "HTTP/")
			want := version + " pace"
			if path == "/through" {
				want = "1.1 inner, " + want
			}
			if via := strings.Join(got.Header.Values("Via"), ", "); via != want || got.Body != "fine" {
				t.Errorf("%s: Via = %q, body %q; want %q", path, via, got.Body, want)
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.Path(path))
			wantAttr(t, trace.Clients[0].Attrs, "network.protocol.version", version)
			if line := p.WantAccess(path); line.Text("outcome") != "ok" {
				t.Errorf("%s: outcome %s", path, line.Text("outcome"))
			}
		}
		p.WantMetric(float64(len(bodies)), "http_client_request_duration_seconds_count", "http_response_status_code", "200")
	})
}

// TestEnvironment_AttributesThatPass: what is not refused can be scraped, and is in the spans.
func TestEnvironment_AttributesThatPass(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)), "OTEL_RESOURCE_ATTRIBUTES=town=Z%C3%BCrich,b\u00e9=1,LE=2,le.x=3,_le=4,0=5")
	wantStatus(t, p.Get("/x"), 200)
	wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.Path("/x")).Server.Resource, "town", "Zürich")
	p.WantMetric(1, "target_info", "town", "Zürich", "LE", "2", "le_x", "3", "key_0", "5")
}
