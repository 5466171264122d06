package contract

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestMatching_IsOnThePathAsItCame sends raw targets over both protocols, and asks the backends which one got
// what. A target that could pass by a route, where a backend resolves it, reaches none.
func TestMatching_IsOnThePathAsItCame(t *testing.T) {
	t.Parallel()
	site, admin, user := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, pacetest.Config{
		"upstream.site":  pacetest.Upstreams(site),
		"upstream.admin": pacetest.Upstreams(admin),
		"upstream.user":  pacetest.Upstreams(user),
	}.WithRoutes(
		pacetest.Table{"match": "/", "upstream": "site"},
		pacetest.Table{"match": "/admin/", "upstream": "admin"},
		pacetest.Table{"match": "GET /users/{id}", "upstream": "user"},
	))
	for _, tt := range []struct {
		target string
		want   *pacetest.Backend // nil: 400
	}{
		{"/", site},
		{"/admin/", admin},
		{"/admin/x?y=/../", admin},
		{"/%61dmin/x", admin},
		{"/admin//x", admin},
		{"/admin/a/../x", admin},
		{"/admin/%2e%2E%2f/x", admin}, // one segment, which no separator divides
		{"/a//b/./c", site},
		{"/...", site},
		{"/users/7", user},
		{"/users/a%2Fb", user},
		{"/users/%2e%2e%2fadmin", user},

		// no slash is added or resolved
		{"/admin", site},
		{"/users/", site},
		{"/users/7/", site},
		{"/admin%2Fx", site},
		{"/%2561dmin/x", site},

		{"//admin/x", nil},
		{"/./admin/x", nil},
		{"/x/../admin/y", nil},
		{"/x/%2e%2e/admin/y", nil},
		{"/x/.%2E/admin/y", nil},
		{"/admin/../x", nil},
		{"/admin/%2E./x", nil},
		{"/x/y/../../users/7", nil},
		{"/users//7", nil},
		{"/users/7/.", nil},
		{"/users/x/../7", nil},
	} {
		for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
			before := len(site.Requests()) + len(admin.Requests()) + len(user.Requests())
			var status string
			if version == "HTTP/2" {
				status = askHTTP2(t, p, "", ":method", "GET", ":path", tt.target)
			} else {
				w := p.Wire()
				w.Send("GET " + tt.target + " HTTP/1.1\r\nHost: x\r\n\r\n")
				status = strconv.Itoa(w.Response("GET").Status)
			}
			after := len(site.Requests()) + len(admin.Requests()) + len(user.Requests())
			if tt.want == nil {
				if status != "400" || after != before {
					t.Errorf("%s over %s: status %s, and %d requests reached a backend; want 400 and none", tt.target, version, status, after-before)
				}
				continue
			}
			got := tt.want.Requests()
			if status != "200" || after != before+1 || len(got) == 0 || got[len(got)-1].Target != tt.target {
				t.Errorf("%s over %s: status %s, and %d requests reached a backend; want 200 and one, with this target", tt.target, version, status, after-before)
			}
		}
	}
}

// TestMatching_NoRouteAndNoMethod: what no route takes reaches no backend, and is in every signal.
func TestMatching_NoRouteAndNoMethod(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, pacetest.Config{"upstream.api": pacetest.Upstreams(b)}.WithRoutes(
		pacetest.Table{"match": "GET /users/{id}", "upstream": "api", "name": "user"},
		pacetest.Table{"match": "DELETE /users/{id}", "upstream": "api"},
		pacetest.Table{"match": "api.example/v2/", "upstream": "api"},
	))
	for _, tt := range []struct {
		method, path, host string
		status             int
		outcome, allow     string
	}{
		{"GET", "/nowhere", "x", 404, "no_route", ""},
		{"GET", "/v2/x", "x", 404, "no_route", ""},
		{"GET", "/users/7/", "x", 404, "no_route", ""},
		{"POST", "/users/7", "x", 405, "method_not_allowed", "DELETE, GET, HEAD"},
		{"OPTIONS", "/users/7", "x", 405, "method_not_allowed", "DELETE, GET, HEAD"},
	} {
		got := p.Send(tt.method, tt.path, "", "Host", tt.host)
		wantStatus(t, got, tt.status)
		if !strings.Contains(got.Body, "Outcome: "+tt.outcome) || got.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: got Allow %q and %q", tt.method, tt.path, got.Header.Get("Allow"), got.Body)
		}
	}
	for _, host := range []string{"api.example", "API.Example:8080", "api.example."} {
		wantStatus(t, p.Send("HEAD", "/v2/x", "", "Host", host), 200)
	}
	wantStatus(t, p.Send("HEAD", "/users/7", ""), 200)
	if got := len(b.Requests()); got != 4 {
		t.Errorf("the backend got %d requests, want 4", got)
	}
	p.WantMetric(3, "pace_rejections_total", "reason", "no_route", "http_route", "")
	p.WantMetric(2, "pace_rejections_total", "reason", "method_not_allowed", "http_route", "")
	p.WantMetric(1, "http_server_request_duration_seconds_count", "http_route", "/users/{id}")
	p.WantMetric(3, "http_server_request_duration_seconds_count", "http_route", "/v2/")
	line := p.WantAccess("/nowhere")
	if line.Text("route") != "" || line.Text("outcome") != "no_route" || line.Text("level") != "WARN" {
		t.Errorf("the access line is %v", line)
	}
	trace := pacetest.WantTrace(spans, 0, pacetest.Path("/nowhere"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "no_route")
	if trace.Server.Name != "GET" {
		t.Errorf("the span is named %q, want GET", trace.Server.Name)
	}
	trace = pacetest.WantTrace(spans, 1, func(s otlp.Span) bool { return s.Name == "HEAD /users/{id}" })
	wantAttr(t, trace.Server.Attrs, "http.route", "/users/{id}")
}

// TestMatching_Conditions: fields of the header choose among routes with one pattern.
func TestMatching_Conditions(t *testing.T) {
	t.Parallel()
	stable, canary := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, pacetest.Config{
		"upstream.stable": pacetest.Upstreams(stable), "upstream.canary": pacetest.Upstreams(canary),
	}.WithRoutes(
		pacetest.Table{"match": "/", "upstream": "stable"},
		pacetest.Table{"match": "/", "upstream": "canary", "when": pacetest.Table{"x-canary": "1"}},
	))
	for _, tt := range []struct {
		fields string
		want   *pacetest.Backend
	}{
		{"", stable},
		{"X-Canary: 1\r\n", canary},
		{"x-canary:  1 \r\n", canary},
		{"X-Canary: 2\r\n", stable},
		{"X-Canary: 1, 1\r\n", stable},
		{"X-Canary: 1\r\nX-Canary: 1\r\n", stable},
		{"X_Canary: 1\r\n", stable},
	} {
		before := len(tt.want.Requests())
		w := p.Wire()
		w.Send("GET /x HTTP/1.1\r\nHost: x\r\n" + tt.fields + "\r\n")
		wantStatus(t, w.Response("GET"), 200)
		if len(tt.want.Requests()) != before+1 {
			t.Errorf("%q went to the other upstream", tt.fields)
		}
	}
}

// TestMatching_ThousandRoutes starts and reloads as many, of which each has another upstream afterwards.
func TestMatching_ThousandRoutes(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	const n = 1000
	config := func(first, second string) pacetest.Config {
		var routes []pacetest.Table
		for i := range n / 2 {
			routes = append(routes,
				pacetest.Table{"match": fmt.Sprintf("/service%d/", i), "upstream": first},
				pacetest.Table{"match": fmt.Sprintf("GET /api/v1/service%d/items/{id}", i), "upstream": second})
		}
		return pacetest.Config{"upstream.a": pacetest.Upstreams(a), "upstream.b": pacetest.Upstreams(b)}.WithRoutes(routes...)
	}
	check := func(p *pacetest.Pace, first, second *pacetest.Backend) {
		t.Helper()
		for _, i := range []int{0, n/2 - 1} {
			if got := p.Get(fmt.Sprintf("/service%d/x", i)); got.Header.Get("X-Backend") != first.Name() {
				t.Errorf("/service%d/x: status %d from %q, want %s", i, got.Status, got.Header.Get("X-Backend"), first.Name())
			}
			if got := p.Get(fmt.Sprintf("/api/v1/service%d/items/7", i)); got.Header.Get("X-Backend") != second.Name() {
				t.Errorf("/api/v1/service%d/items/7: status %d from %q, want %s", i, got.Status, got.Header.Get("X-Backend"), second.Name())
			}
		}
		wantStatus(t, p.Get("/service500/x"), 404)
	}
	p := pacetest.Start(t, config("a", "b"))
	check(p, a, b)
	next := config("b", "a")
	p.Write(next)
	if line := p.HUP(); line.Text("msg") != "configuration reloaded" {
		t.Fatalf("got %v", line)
	}
	check(p, b, a)
}
