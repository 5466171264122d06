package contract

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// aRoute is the table of a route.
func aRoute(match string, pairs ...any) pacetest.Table {
	t := pacetest.Table{"match": match}
	for i := 0; i < len(pairs); i += 2 {
		t[pairs[i].(string)] = pairs[i+1]
	}
	return t
}

// routed is a configuration with the upstreams a and b, and these routes.
func routed(a, b *pacetest.Backend, routes ...pacetest.Table) pacetest.Config {
	return pacetest.Config{"upstream.a": pacetest.Upstreams(a), "upstream.b": pacetest.Upstreams(b)}.WithRoutes(routes...)
}

// taken is a request, and what its client and the backends get, and what pace says of it.
type taken struct {
	name         string
	method, path string
	pairs        []string // of the request's header

	status  int
	outcome string
	route   string   // the path of the pattern; "" if none takes it
	header  []string // of the response: name and value
	target  string   // that upstream a gets; "": nobody is asked
}

// routeName is the name of the route, which is its pattern unless the configuration says another.
func (want taken) routeName() string {
	switch want.route {
	case "/canary":
		return "canary"
	case "/read":
		return "GET /read"
	}
	return want.route
}

// wantTaken sends the request and fails t unless client, backend, metric, span and line agree with it.
func wantTaken(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, a *pacetest.Backend, want taken) {
	t.Helper()
	labels := []string{"pace_outcome", want.outcome, "http_route", want.route, "pace_route", want.routeName(), "http_response_status_code", strconv.Itoa(want.status)}
	before := p.Metrics().Sum("http_server_request_duration_seconds_count", labels...)
	got := p.Send(want.method, want.path, "", want.pairs...)
	if got.Status != want.status {
		t.Fatalf("%s: status %d, body %q, want %d", want.name, got.Status, got.Body, want.status)
	}
	for i := 0; i < len(want.header); i += 2 {
		if v := got.Header.Get(want.header[i]); v != want.header[i+1] {
			t.Errorf("%s: %s is %q, want %q", want.name, want.header[i], v, want.header[i+1])
		}
	}
	if want.target != "" {
		a.WantGot(1, want.target)
	}
	path, _, _ := strings.Cut(want.path, "?")
	line := p.WantAccess(path)
	upstream := map[bool]string{true: "a"}[want.target != ""]
	if line.Text("outcome") != want.outcome || line.Text("route") != want.route || line.Text("route_name") != want.routeName() || line.Int("status") != want.status || line.Text("upstream") != upstream {
		t.Errorf("%s: the line says %v", want.name, line)
	}
	span := pacetest.WantTrace(spans, 0, pacetest.ID(got.Header.Get("X-Trace-Id"))).Server
	wantAttr(t, span.Attrs, "pace.outcome", want.outcome)
	name := want.method
	if want.route != "" {
		name += " " + want.route
		wantAttr(t, span.Attrs, "http.route", want.route)
		wantAttr(t, span.Attrs, "pace.route", want.routeName())
	} else if r, ok := span.Attrs["http.route"]; ok && r != "" {
		t.Errorf("%s: the span has http.route %v", want.name, r)
	}
	if span.Name != name {
		t.Errorf("%s: the span is named %q, want %q", want.name, span.Name, name)
	}
	p.WantMetric(before+1, "http_server_request_duration_seconds_count", labels...)
}

// Each action does what the configuration says, and all accounts of it agree.
func TestRoutes(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, routed(a, b,
		aRoute("/to/{rest...}", "upstream", "a"),
		aRoute("/stripped/{rest...}", "upstream", "a", "strip_prefix", "/stripped", "add_prefix", "/v2"),
		aRoute("/old/{rest...}", "redirect", "https://new.example/{rest}"),
		aRoute("/moved", "redirect", "/to", "status", 302),
		aRoute("/root/{rest...}", "redirect", "/{rest}"),
		aRoute("/gone", "respond", 410, "body", "no more"),
		aRoute("/empty", "respond", 204),
		aRoute("GET /read", "upstream", "a"),
		aRoute("GET /two", "upstream", "b"),
		aRoute("PUT /two", "upstream", "b"),
		aRoute("/denied/{rest...}", "upstream", "b", "allow", []string{"127.0.0.0/8"}, "deny", []string{"127.0.0.1/32"}),
		aRoute("/others/{rest...}", "upstream", "b", "allow", []string{"192.0.2.0/24"}),
		aRoute("/mine/{rest...}", "upstream", "a", "allow", []string{"127.0.0.0/8"}),
		aRoute("/canary", "upstream", "b"),
		aRoute("/canary", "upstream", "a", "name", "canary", "when", pacetest.Table{"X-Canary": "1"}),
	))
	for _, tt := range []taken{
		{"an upstream", "GET", "/to/a%2Fb?q=1", nil, 200, "ok", "/to/{rest...}", nil, "/to/a%2Fb?q=1"},
		{"prefixes", "GET", "/stripped/x?y", nil, 200, "ok", "/stripped/{rest...}", nil, "/v2/x?y"},
		{"a redirect to another host", "GET", "/old/a%2Fb?q=1", nil, 308, "redirected", "/old/{rest...}", []string{"Location", "https://new.example/a%2Fb?q=1"}, ""},
		{"a redirect with its own status", "GET", "/moved", nil, 302, "redirected", "/moved", []string{"Location", "/to"}, ""},
		{"a redirect never leads to a host that the client chose", "GET", "/root/%2Fevil.example/x", nil, 308, "redirected", "/root/{rest...}", []string{"Location", "/%2Fevil.example/x"}, ""},
		{"pace's response", "GET", "/gone", nil, 410, "responded", "/gone", []string{"Content-Length", "7"}, ""},
		{"pace's response without a body", "GET", "/empty", nil, 204, "responded", "/empty", []string{"Content-Length", ""}, ""},
		{"a method that a route has", "GET", "/read", nil, 200, "ok", "/read", nil, "/read"},
		{"a method that no route has", "POST", "/two", nil, 405, "method_not_allowed", "", []string{"Allow", "GET, HEAD, PUT", "Proxy-Status", `pace; error=http_request_error; details="method_not_allowed"`}, ""},
		{"no route", "GET", "/nowhere", nil, 404, "no_route", "", []string{"Proxy-Status", `pace; error=destination_not_found; details="no_route"`}, ""},
		{"a client who is denied although it is allowed", "GET", "/denied/x", nil, 403, "forbidden", "/denied/{rest...}", []string{"Proxy-Status", `pace; error=http_request_denied; details="forbidden"`}, ""},
		{"a client who is not allowed", "GET", "/others/x", nil, 403, "forbidden", "/others/{rest...}", nil, ""},
		{"a client who is allowed", "GET", "/mine/x", nil, 200, "ok", "/mine/{rest...}", nil, "/mine/x"},
		{"a condition that is met", "GET", "/canary", []string{"X-Canary", "1"}, 200, "ok", "/canary", nil, "/canary"},
	} {
		wantTaken(t, p, spans, a, tt)
	}
	if got := b.Requests(); len(got) > 0 {
		t.Errorf("upstream b got %d requests, the first one %s", len(got), got[0].Target)
	}
	for _, reason := range []string{"no_route", "method_not_allowed"} {
		p.WantMetric(1, "pace_rejections_total", "reason", reason, "http_route", "")
	}
	p.WantMetric(1, "pace_rejections_total", "reason", "forbidden", "http_route", "/denied/{rest...}")
}

// A path that a backend may resolve to that of another route is not let past the route that it seems to take.
func TestRoutes_UncleanPaths(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, routed(a, b, aRoute("/", "upstream", "a"), aRoute("/admin/", "upstream", "b", "deny", []string{"0.0.0.0/0"})))
	for path, status := range map[string]int{
		"//admin/x": 400, "/x/../admin/x": 400, "/./admin/x": 400, "/x/%2e%2e/admin/": 400, "/admin/../x": 400,
		"/admin/x": 403, "/%61dmin/x": 403, "/x//y": 200, "/x/../y": 200, "/x": 200,
	} {
		w := p.Wire()
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		wantStatus(t, w.Response("GET"), status)
		if status == 200 {
			a.WantGot(1, path)
		}
	}
}

// What a route changes in the header of the request and of the response, and which Host the backend gets.
func TestRoutes_Headers(t *testing.T) {
	t.Parallel()
	a := pacetest.NewBackend(t, pacetest.With(200, "Server: secret\r\nX-Kept: 1\r\nX-Both: backend\r\nContent-Length: 2\r\n", "hi"))
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, routed(a, b,
		aRoute("/changed", "upstream", "a", "host", "backend",
			"request_headers", pacetest.Table{"set": pacetest.Table{"X-Set": "pace"}, "add": pacetest.Table{"X-Both": "pace"}, "remove": []string{"X-Secret"}},
			"response_headers", pacetest.Table{"set": pacetest.Table{"X-Frame-Options": "DENY"}, "add": pacetest.Table{"X-Both": "pace"}, "remove": []string{"Server"}}),
		aRoute("/literal", "upstream", "b", "host", "internal.example:8080"),
		aRoute("/kept", "upstream", "b"),
		aRoute("/responded", "respond", 200, "body", "<p>", "response_headers", pacetest.Table{"set": pacetest.Table{"Content-Type": "text/html"}}),
	))
	got := p.Get("/changed", "Host", "shop.example", "X-Set", "client", "X-Both", "client", "X-Secret", "1", "X_secret", "2")
	wantStatus(t, got, 200)
	if v := got.Header["X-Both"]; got.Header.Get("Server") != "" || got.Header.Get("X-Kept") != "1" || got.Header.Get("X-Frame-Options") != "DENY" || strings.Join(v, " ") != "backend pace" {
		t.Errorf("the client got %v", got.Header)
	}
	r := a.WantGot(1, "/changed")[0]
	if v := r.Header["X-Both"]; r.Header.Get("X-Set") != "pace" || len(r.Header["X-Set"]) != 1 || r.Header.Get("X-Secret") != "" || strings.Join(v, " ") != "client pace" || strings.Contains(r.Head, "X_secret") {
		t.Errorf("the backend got %q", r.Head)
	}
	if r.Host != a.Address() || r.Header.Get("X-Forwarded-Host") != "shop.example" {
		t.Errorf("the backend got Host %q and X-Forwarded-Host %q", r.Host, r.Header.Get("X-Forwarded-Host"))
	}
	wantStatus(t, p.Get("/literal", "Host", "shop.example"), 200)
	if r := b.WantGot(1, "/literal")[0]; r.Host != "internal.example:8080" {
		t.Errorf("the backend got Host %q", r.Host)
	}
	wantStatus(t, p.Get("/kept", "Host", "shop.example"), 200)
	if r := b.WantGot(1, "/kept")[0]; r.Host != "shop.example" {
		t.Errorf("the backend got Host %q", r.Host)
	}
	if got := p.Get("/responded"); got.Status != 200 || got.Body != "<p>" || got.Header.Get("Content-Type") != "text/html" {
		t.Errorf("pace's own response: %d %q %v", got.Status, got.Body, got.Header)
	}
}

// A client stays at one upstream of a split, and the weights hold over many clients.
func TestRoutes_Split(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, routed(a, b, aRoute("/", "split", pacetest.Table{"a": 75, "b": 25}, "split_by", "cookie:user"),
		aRoute("/none", "split", pacetest.Table{"a": 0, "b": 1})))
	const clients = 200
	for i := range clients {
		path := fmt.Sprint("/", i)
		for range 2 {
			wantStatus(t, p.Get(path, "Cookie", fmt.Sprint("user=", i)), 200)
		}
		if n, m := len(a.Got(path)), len(b.Got(path)); n*m > 0 || n+m != 2 {
			t.Errorf("client %d was sent to a %d times, and to b %d times", i, n, m)
		}
	}
	if n := len(a.Requests()); n < 2*clients*60/100 || n > 2*clients*90/100 {
		t.Errorf("of %d requests %d went to a, want about three quarters", 2*clients, n)
	}
	for range 10 {
		wantStatus(t, p.Get("/none"), 200)
	}
	b.WantGot(10, "/none")
}

// Several limits let a request pass together: one that is denied uses none of the quota of the others.
func TestRoutes_Limits(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	cfg := routed(a, b,
		aRoute("/both", "upstream", "a", "limits", []string{"small", "large"}),
		aRoute("/large", "upstream", "a", "limits", []string{"large"}),
		aRoute("/free", "upstream", "a"))
	cfg["limit.small"] = pacetest.Table{"max_requests": 1, "window_seconds": 3600}
	cfg["limit.large"] = pacetest.Table{"max_requests": 3, "window_seconds": 3600}
	p, spans := pacetest.StartTraced(t, cfg)
	wantStatus(t, p.Get("/both"), 200)
	for range 5 {
		wantStatus(t, p.Get("/both"), 429)
	}
	wantStatus(t, p.Get("/large"), 200)
	wantStatus(t, p.Get("/large"), 200)
	denied := p.Get("/large")
	wantStatus(t, denied, 429)
	wantStatus(t, p.Get("/free"), 200)
	p.WantMetric(5, "pace_rejections_total", "reason", "rate_limited", "http_route", "/both")
	p.WantMetric(1, "pace_rejections_total", "reason", "rate_limited", "http_route", "/large")
	events := pacetest.WantTrace(spans, 0, pacetest.ID(denied.Header.Get("X-Trace-Id"))).Server.Named("pace.rate_limited")
	if len(events) != 1 || events[0].Attrs["pace.limit.policy"] != "large" {
		t.Errorf("the span has %v", events)
	}
}

// A route's own times and sizes: less than those of the server and the upstream, or more.
func TestRoutes_Bounds(t *testing.T) {
	t.Parallel()
	stalls := func(length int) pacetest.Behaviour {
		return func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", length, strings.Repeat("x", length/2))
			x.AwaitClose()
		}
	}
	chunks := func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for x.Write("1\r\nx\r\n") {
			time.Sleep(20 * time.Millisecond)
		}
	}
	events := func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
		time.Sleep(2 * time.Second)
		x.Write("data: 2\n\n")
		x.Close()
	}
	a := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{
		"/slow": pacetest.Hang, "/total": pacetest.Hang, "/stalls": stalls(10), "/large": stalls(8 << 20), "/endless": chunks, "/events": events,
		"/patient": pacetest.Later(3*time.Second, pacetest.Fine), "/small": pacetest.Fine, "/": pacetest.Fine,
	}))
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := routed(a, b,
		aRoute("/slow", "upstream", "a", "response_timeout", "200ms"),
		aRoute("/patient", "upstream", "a", "response_timeout", "30s"),
		aRoute("/total", "upstream", "a", "timeout", "200ms"),
		aRoute("/total/{rest...}", "upstream", "a", "timeout", "200ms"),
		aRoute("/endless", "upstream", "a", "timeout", "1s"), // on a busy machine, a header may need some of it
		aRoute("/events", "upstream", "a", "timeout", "1s", "body_timeout", "1s"),
		aRoute("/stalls", "upstream", "a", "body_timeout", "200ms"),
		aRoute("/large", "upstream", "a", "body_timeout", "200ms"),
		aRoute("/small", "upstream", "a", "max_body_bytes", 4),
	)
	cfg["upstream.a"] = cfg["upstream.a"].With("response_timeout", "2s")
	p, spans := pacetest.StartTraced(t, cfg)
	for _, tt := range []struct {
		path, body string
		status     int
		outcome    string
		whole      bool
	}{
		{"/slow", "", 504, "upstream_timeout", true},
		{"/patient", "", 200, "ok", true},
		{"/total", "", 504, "route_timeout", true},
		{"/endless", "", 200, "route_timeout", false},
		{"/stalls", "", 200, "upstream_stalled", false},
		{"/large", "", 200, "upstream_stalled", false},
		{"/small", "12345", 413, "too_large", true},
		{"/events", "", 200, "ok", true},
	} {
		method := map[bool]string{true: "POST", false: "GET"}[tt.body != ""]
		got := p.Send(method, tt.path, tt.body)
		if got.Status != tt.status || (got.Err == nil) != tt.whole {
			t.Errorf("%s: the client got %d, %v", tt.path, got.Status, got.Err)
		}
		line := p.WantAccess(tt.path)
		if line.Text("outcome") != tt.outcome || line.Int("status") != tt.status {
			t.Errorf("%s: the line says %v", tt.path, line)
		}
		p.WantMetric(1, "pace_requests_total", "pace_outcome", tt.outcome, "http_route", p.WantAccess(tt.path).Text("route"))
		span := pacetest.WantTrace(spans, 0, pacetest.Path(tt.path)).Server
		wantAttr(t, span.Attrs, "pace.outcome", tt.outcome)
		if failed := tt.outcome == "route_timeout" || tt.outcome == "upstream_stalled"; failed && (span.StatusCode != otlp.Error || span.Attrs["error.type"] != tt.outcome) {
			t.Errorf("%s: the span's status is %d, error.type %v", tt.path, span.StatusCode, span.Attrs["error.type"])
		}
	}
	if got := p.Get("/total"); got.Header.Get("Proxy-Status") != `pace; error=http_response_timeout; details="route_timeout"` {
		t.Errorf("Proxy-Status is %q", got.Header.Get("Proxy-Status"))
	}
	w := p.Wire() // a client that does not send its body does not stop the time either
	w.Send("POST /total/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
	wantStatus(t, w.Response("POST"), 504)
	if line := p.WantAccess("/total/upload"); line.Text("outcome") != "route_timeout" {
		t.Errorf("the line says %v", line)
	}
	if got := p.Get("/events"); !strings.HasSuffix(got.Body, "data: 2\n\n") {
		t.Errorf("a stream of events has no timeout of the route: got %q", got.Body)
	}
}

// A client that takes its response too slowly does not outlive the route's timeout either.
func TestRoutes_TimeoutEndsADeliveryThatTheClientDoesNotTake(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		a, b := pacetest.NewBackend(t, pacetest.Endless), pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, routed(a, b, aRoute("/endless", "upstream", "a", "timeout", "300ms")))
		resp, err := mode.Client(t).Do(p.Request("GET", "/endless", ""))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if line := p.WantAccess("/endless"); line.Text("outcome") != "route_timeout" || line.Text("left_in") != "" {
			t.Errorf("the line says %v", line)
		}
	})
}
