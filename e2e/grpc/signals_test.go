package grpc

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestEjection_ByCodes: a backend whose calls end with codes of its side is ejected, and one whose calls end with codes
// of the client's is not.
func TestEjection_ByCodes(t *testing.T) {
	t.Parallel()
	well := pacetest.NewBackend(t, script)
	for _, tt := range []struct {
		code    codes.Code
		ejected bool
	}{{codes.Unavailable, true}, {codes.NotFound, false}} {
		ill := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.Target = fmt.Sprintf("/test.Codes/trailer-%d", tt.code)
			script(x)
		})
		p := pacetest.Start(t, upstreams(well, ill))
		c := client(t, p)
		n := 12
		for range n {
			call(t, c, "/test.Codes/trailer-0")
		}
		got := len(ill.Requests())
		p.Stop() // writes what of the log is not written yet
		lines := p.Lines("backend state")
		switch {
		case !tt.ejected && (got != n/2 || len(lines) > 0):
			t.Errorf("%v: the backend got %d of %d calls; %v", tt.code, got, n, lines)
		case tt.ejected && (got != 5 || len(lines) != 1 || !strings.HasPrefix(lines[0].Text("reason"), "5 responses with UNAVAILABLE in ")):
			t.Errorf("%v: the backend got %d calls; %v", tt.code, got, lines)
		}
	}
}

// TestKept_AreCallsOfSideBackend: the head of no trace is sampled, and the status of all is 200.
func TestKept_AreCallsOfSideBackend(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	cfg := withoutEjection(upstreams(b))
	cfg["tracing"] = pacetest.Table{"sample_ratio": 0.0}
	p, spans := pacetest.StartTraced(t, cfg)
	c := client(t, p)
	for _, code := range []codes.Code{codes.OK, codes.NotFound, codes.Unavailable} {
		call(t, c, fmt.Sprintf("/test.Codes/trailer-%d", code))
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/test.Codes/trailer-14"))
	if got := trace.Server.Attrs["pace.keep.reason"]; got != "error" || trace.Server.StatusMessage != "it said 14" {
		t.Errorf("the trace is kept because of %v, and says %q", got, trace.Server.StatusMessage)
	}
	p.WantMetric(1, "pace_traces_kept_total", "reason", "error")
	if n := pacetest.Count(spans, otlp.Server); n != 1 {
		t.Errorf("%d traces are kept", n)
	}
	if line := p.WantAccess("/test.Codes/trailer-5"); line.Text("error") != "" {
		t.Errorf("what a backend says of its client is in the log: %v", line)
	}
}

// TestExplain_OfACall: the API tells what happened to a call, and finds it by its outcome.
func TestExplain_OfACall(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, script)
	p := pacetest.Start(t, upstreams(b))
	call(t, client(t, p), "/test.Codes/trailer-14")
	var got struct {
		Requests []struct {
			TraceID    string `json:"trace_id"`
			GRPCStatus int    `json:"grpc_status"`
			Outcome    string `json:"outcome"`
		} `json:"requests"`
	}
	get(t, "http://"+p.Admin+"/api/v1/requests?outcome=upstream_error", &got)
	if len(got.Requests) != 1 || got.Requests[0].GRPCStatus != 14 {
		t.Fatalf("the API has %+v", got)
	}
	var whole struct {
		Attempts []struct {
			GRPCStatus int `json:"grpc_status"`
		} `json:"attempts"`
		Explanation []string `json:"explanation"`
	}
	get(t, "http://"+p.Admin+"/api/v1/requests/"+got.Requests[0].TraceID, &whole)
	story := strings.Join(whole.Explanation, "\n")
	for _, sentence := range []string{"as a gRPC call", "It ended the call with the gRPC status 14 (UNAVAILABLE): it said 14.", "It ended as upstream_error"} {
		if !strings.Contains(story, sentence) {
			t.Errorf("%q is not in\n%s", sentence, story)
		}
	}
	if len(whole.Attempts) != 1 || whole.Attempts[0].GRPCStatus != 14 {
		t.Errorf("the attempts are %+v", whole.Attempts)
	}
}

func get(t *testing.T, url string, to any) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil || json.Unmarshal(raw, to) != nil {
		t.Fatalf("%s: %v, %s", url, err, raw)
	}
}
