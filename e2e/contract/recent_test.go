package contract

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// record is an exchange as the API has it.
type record map[string]any

// api returns the status and the body of a call of the API.
func api(t *testing.T, p *pacetest.Pace, path string, body any) int {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin + "/api/v1/" + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(body); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return resp.StatusCode
}

// recentOf waits for the record of the trace.
func recentOf(t *testing.T, p *pacetest.Pace, trace string) (r record) {
	t.Helper()
	pacetest.Eventually(t, func() error {
		r = nil
		if status := api(t, p, "requests/"+trace, &r); status != 200 {
			return notYet("%d, %v", status, r)
		}
		return nil
	})
	return r
}

// A request that failed over is told from the facts that the client and the backend know, without any exporter.
func TestRecent_TellsOneRequest(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		dead := pacetest.NewClosed(t)
		b := pacetest.NewBackend(t, pacetest.Fine)
		cfg := upstreams(dead, b)
		cfg["rate_limit"] = pacetest.Table{"max_requests": 10}
		p := pacetest.Start(t, cfg)
		var trace, path string
		for i := range 2 { // one of the two begins at the closed address
			path = fmt.Sprint("/cart/", i)
			response := pacetest.Do(mode.Client(t), p.Request("GET", path+"?token=secret", ""))
			wantStatus(t, response, 200)
			if trace = response.Header.Get("X-Trace-Id"); p.WantAccess(path).Int("attempts") == 2 {
				break
			}
		}
		r, line := recentOf(t, p, trace), p.WantAccess(path)
		for name, want := range map[string]any{
			"trace_id": trace, "method": "GET", "path": path, "query": "token=REDACTED", "status": 200.0, "outcome": "ok", "side": "none", "route": "default", "http_route": "/", "backend": b.Address(),
			"reason": "failover", "trace": "dropped", "kept": nil, "client": "127.0.0.1", "duration_ms": line["duration_ms"], "request_id": line["request_id"],
		} {
			if r[name] != want {
				t.Errorf("%s is %v, want %v", name, r[name], want)
			}
		}
		attempts := r["attempts"].([]any)
		first, second := attempts[0].(map[string]any), attempts[1].(map[string]any)
		if first["backend"] != dead.Address() || first["failure"] != "connect_failed" || !strings.Contains(fmt.Sprint(first["error"]), "connection refused") || first["status"] != nil {
			t.Errorf("the first attempt is %v", first)
		}
		if second["backend"] != b.Address() || second["status"] != 200.0 || second["error"] != nil || second["wait_ms"].(float64) > second["duration_ms"].(float64) {
			t.Errorf("the second attempt is %v", second)
		}
		if own := line["own_ms"]; r["phases"].(map[string]any)["own"] != own {
			t.Errorf("the phases are %v, the line has %v", r["phases"], line)
		}
		if events := r["events"].([]any); len(events) != 1 || events[0].(map[string]any)["name"] != "pace.failover" || events[0].(map[string]any)["pace.failover.to"] != b.Address() {
			t.Errorf("the events are %v", events)
		}
		protocol := map[pacetest.Mode]string{pacetest.H1: "1.1", pacetest.H2C: "2"}[mode]
		rest := fmt.Sprint(r["explanation"])
		for _, fact := range []string{
			"GET " + path + " came from 127.0.0.1 over HTTP/" + protocol, "The limit let it pass (", "of 10 used)",
			"Attempt 1, at " + dead.Address() + ", failed after ", "connection refused.",
			"pace failed over to " + b.Address() + ": GET is safe to repeat and nothing had been sent.",
			"Attempt 2, at " + b.Address() + ", answered 200 after ", "The response's 4 B took ", "It ended as ok after ", "pace itself took ",
		} {
			_, after, ok := strings.Cut(rest, fact)
			if !ok {
				t.Errorf("%q is not where it should be in %v", fact, r["explanation"])
			}
			rest = after
		}
		if strings.Contains(fmt.Sprint(r), "secret") {
			t.Errorf("the query's value is in %v", r)
		}
	})
}

// The list has what is asked for, newest first, in pages; the ring is bounded, and 0 empties it.
func TestRecent_List(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		status := "500 Internal Server Error"
		if strings.HasPrefix(x.Target, "/fine") {
			status = "200 OK"
		}
		x.Write("HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status)
	})
	p := pacetest.Start(t, set(upstreams(b), "tracing.keep", "recent", 20))
	client := pacetest.H1.Client(t)
	for i := range 30 {
		wantStatus(t, pacetest.Do(client, p.Request("GET", fmt.Sprint("/fails/", i), "")), 500)
		wantStatus(t, pacetest.Do(client, p.Request("GET", fmt.Sprint("/fine/", i), "")), 200)
	}
	p.WantMetric(60, "http_server_request_duration_seconds_count")
	type page struct {
		Requests []record
		Next     *string
	}
	list := func(query string) (paths []string, next *string) {
		var got page
		if status := api(t, p, "requests"+query, &got); status != 200 {
			t.Fatalf("%s: %d", query, status)
		}
		for _, r := range got.Requests {
			paths = append(paths, r["path"].(string))
		}
		return paths, got.Next
	}
	pacetest.Eventually(t, func() error {
		all, next := list("")
		if len(all) != 20 || next != nil || !slices.Contains(all, "/fails/29") {
			return notYet("got %v, %v, want the last 20", all, next)
		}
		return nil
	})
	all, _ := list("")
	if ordinary, _ := list("?outcome=ok"); len(ordinary) != 2 {
		t.Errorf("%v of 20 are ordinary, want a tenth", ordinary)
	}
	if failures, _ := list("?side=backend&status=500&since=1m&backend=" + b.Address()); len(failures) != 18 || failures[0] != "/fails/29" || failures[17] != "/fails/12" {
		t.Errorf("the failures are %v, want those from 29 to 12", failures)
	}
	var paged []string
	for query := "?limit=7"; ; {
		part, next := list(query)
		if paged = append(paged, part...); next == nil {
			break
		}
		query = "?limit=7&after=" + *next
	}
	if !slices.Equal(paged, all) {
		t.Errorf("by pages: %v, at once: %v", paged, all)
	}
	for _, bad := range []string{"requests?limit=1001", "requests?outcome=x", "requests?since=x", "requests/x"} {
		var body map[string]string
		if status := api(t, p, bad, &body); status != 400 || body["error"] == "" {
			t.Errorf("%s: %d, %v", bad, status, body)
		}
	}
	var body map[string]string
	if status := api(t, p, "requests/0af7651916cd43dd8448eb211c80319c", &body); status != 404 || body["error"] == "" {
		t.Errorf("an unknown trace: %d, %v", status, body)
	}
	none := pacetest.Start(t, set(upstreams(b), "tracing.keep", "recent", 0))
	wantStatus(t, none.Get("/fails"), 500)
	none.WantAccess("/fails")
	var empty page
	if api(t, none, "requests", &empty); len(empty.Requests) != 0 {
		t.Errorf("with recent = 0 there is %v", empty.Requests)
	}
}

// The ring, the line, the counters and the spans give one reason.
func TestRecent_AgreesWithTheOtherSignals(t *testing.T) {
	t.Parallel()
	p, spans := pacetest.StartTraced(t, unsampled(upstreams(pacetest.NewClosed(t))))
	response := p.Get("/x")
	wantStatus(t, response, 502)
	wantKept(t, p, spans, "/x", "error", 1)
	if r := recentOf(t, p, response.Header.Get("X-Trace-Id")); r["kept"] != "error" || r["reason"] != "error" || r["trace"] != "kept" || r["trace_sampled"] != false {
		t.Errorf("the ring has %v", r)
	}
}

// Who follows sees each interesting exchange as it ends.
func TestTail_StreamsWhatEnds(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewClosed(t)))
	resp, err := http.Get("http://" + p.Admin + "/api/v1/tail?outcome=connect_failed")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	response := p.Get("/x")
	wantStatus(t, response, 502)
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	data, ok := strings.CutPrefix(line, "data: ")
	var r record
	if err != nil || !ok || json.Unmarshal([]byte(data), &r) != nil || r["trace_id"] != response.Header.Get("X-Trace-Id") || r["outcome"] != "connect_failed" {
		t.Errorf("got %q, %v", line, err)
	}
}
