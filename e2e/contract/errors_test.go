package contract

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// TestFailures_NameBackendAndError, in the access line and in the spans of the same attempt. There is no other
// line about the failure.
func TestFailures_NameBackendAndError(t *testing.T) {
	t.Parallel()
	dead, broken := pacetest.NewClosed(t), pacetest.NewBackend(t, pacetest.ResetBefore)
	p, spans := pacetest.StartTraced(t, upstreams(dead, broken))
	last := map[string]int{}
	for i := range 4 {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, p.Get(path), 502)
		line := p.WantAccess(path)
		trace := pacetest.WantTrace(spans, 2, pacetest.Path(path))
		if len(trace.Clients) != 2 {
			t.Fatalf("%d CLIENT spans, want 2", len(trace.Clients))
		}
		first, second := trace.Clients[0], trace.Clients[1]
		last[second.Peer()]++
		said := map[string]*regexp.Regexp{
			dead.Address():   regexp.MustCompile(`^dial tcp ` + dead.Address() + `: connection refused$`),
			broken.Address(): regexp.MustCompile(`^read tcp 127\.0\.0\.1:\d+->` + broken.Address() + `: connection reset by peer$`),
		}
		for _, s := range trace.Clients {
			if !said[s.Peer()].MatchString(s.StatusMessage) || s.StatusCode != otlp.Error {
				t.Errorf("the status of the attempt at %s is %d %q, want %v", s.Peer(), s.StatusCode, s.StatusMessage, said[s.Peer()])
			}
			wantAttr(t, s.Attrs, "peer.service", "default/"+s.Peer())
		}
		if line.Text("backend") != second.Peer() || line.Text("error") != second.StatusMessage || trace.Server.StatusMessage != second.StatusMessage {
			t.Errorf("line: backend %s, error %q; SERVER span: %q; the last attempt: %s, %q",
				line.Text("backend"), line.Text("error"), trace.Server.StatusMessage, second.Peer(), second.StatusMessage)
		}
		wantHops(t, line, first.Peer(), fmt.Sprint(first.Attrs["error.type"]))
	}
	if len(last) != 2 {
		t.Errorf("all ended at one backend: %v", last)
	}
	if strings.Contains(p.Output(), "attempt failed") {
		t.Error("there is a line beside the request's")
	}
}

// wantHops requires that the line has one failover, with only its backend and its reason.
func wantHops(t *testing.T, line pacetest.Line, from, reason string) {
	t.Helper()
	var text bytes.Buffer
	encode := json.NewEncoder(&text)
	encode.Encode(line["failovers"])
	if want := fmt.Sprintf("[{\"from\":%q,\"reason\":%q}]\n", from, reason); text.String() != want {
		t.Errorf("failovers = %s, want %s", text.String(), want)
	}
}

// TestFailover_IsInTheLineOfASuccess, which has no error of its own.
func TestFailover_IsInTheLineOfASuccess(t *testing.T) {
	t.Parallel()
	dead, fine := pacetest.NewClosed(t), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(dead, fine))
	hops := 0
	for i := range 4 {
		path := fmt.Sprintf("/%d", i)
		wantStatus(t, p.Get(path), 200)
		line := p.WantAccess(path)
		if line.Text("backend") != fine.Address() || line["error"] != nil {
			t.Errorf("line: backend %s, error %v; want %s, none", line.Text("backend"), line["error"], fine.Address())
		}
		if line.Int("attempts") == 2 {
			hops++
			wantHops(t, line, dead.Address(), "connect_failed")
		} else if line["failovers"] != nil {
			t.Errorf("failovers = %v of %d attempts", line["failovers"], line.Int("attempts"))
		}
	}
	if hops == 0 {
		t.Error("no request had the dead backend's turn")
	}
}

// TestErrors_QuoteNothingFromTheWire: what a backend or a client sent, a password in a query, a trailer
// that is none, must not come out in a line or a span because it was wrong.
func TestErrors_QuoteNothingFromTheWire(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		behaviour pacetest.Behaviour
		request   string
		outcome   string
	}{
		"a status line":   {pacetest.Raw("HTTP/1.1 2hush OK\r\n\r\n"), "GET /x?token=hush HTTP/1.1\r\nHost: x\r\n\r\n", "upstream_invalid"},
		"no HTTP":         {pacetest.Raw("hush\r\n\r\n"), "GET /x?hush HTTP/1.1\r\nHost: x\r\nAuthorization: hush\r\n\r\n", "upstream_invalid"},
		"a field's name":  {pacetest.Raw("HTTP/1.1 200 OK\r\nhush hush: x\r\n\r\n"), "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "upstream_invalid"},
		"a field's value": {pacetest.Raw("HTTP/1.1 200 OK\r\nSet-Cookie: hush\x01\r\n\r\n"), "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "upstream_invalid"},
		"a chunk's size":  {pacetest.Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nhush\r\n"), "GET /x HTTP/1.1\r\nHost: x\r\n\r\n", "upstream_truncated"},
		"a request's chunk": {func(x *pacetest.Exchange) { x.ReadBody(); x.Close() },
			"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nhush\r\n", "bad_request"},
		"a request's trailer": {func(x *pacetest.Exchange) { x.ReadBody(); x.Close() },
			"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nhush hush\r\n\r\n", "bad_request"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, spans := pacetest.StartTraced(t, set(upstreams(pacetest.NewBackend(t, tt.behaviour)), "upstreams", "max_retries", 0))
			w := p.Wire()
			w.Send(tt.request)
			line := p.WantAccess("/x")
			if line.Text("outcome") != tt.outcome {
				t.Errorf("outcome %s, want %s", line.Text("outcome"), tt.outcome)
			}
			if strings.Contains(p.Output(), "hush") {
				t.Errorf("what came over the wire is in the log: %v", line)
			}
			trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
			if all := fmt.Sprint(trace); strings.Contains(all, "hush") {
				t.Errorf("what came over the wire is in a span: %s", all)
			}
		})
	}
}
