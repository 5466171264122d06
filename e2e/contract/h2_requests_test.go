package contract

import (
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// h2Malformed is one request that HTTP/2 brings and that no backend may see.
type h2Malformed struct {
	name   string
	fields []string // of the header
	end    bool     // the header ends the stream
	data   []string // of DATA frames, the last of which ends it
}

var get, post = pacetest.H2Request("GET", "/x"), pacetest.H2Request("POST", "/x")

func withPath(fields []string, path string) []string { return pacetest.H2Pairs(fields, ":path", path) }

func lengths(values ...string) []string {
	fields := post
	for _, v := range values {
		fields = append(fields[:len(fields):len(fields)], "content-length", v)
	}
	return fields
}

var h2MalformedRequests = []h2Malformed{
	{"a length in hexadecimal", lengths("0x5"), false, []string{"hello"}},
	{"a negative length", lengths("-1"), false, []string{"hello"}},
	{"a length with a plus sign", lengths("+5"), false, []string{"hello"}},
	{"an empty length", lengths(""), false, []string{"hello"}},
	{"an empty length and no body", lengths(""), true, nil},
	{"a length behind a blank", lengths(" 5"), false, []string{"hello"}},
	{"a length before a blank", lengths("5 "), false, []string{"hello"}},
	{"a length of 20 digits", lengths("99999999999999999999"), false, []string{"hello"}},
	{"a length one above the largest", lengths("9223372036854775808"), false, []string{"hello"}},
	{"a length that is a list", lengths("5, 5"), false, []string{"hello"}},
	{"a length with an underscore", lengths("1_0"), false, []string{"helloworld"}},
	{"a length with a fraction", lengths("5.0"), false, []string{"hello"}},
	{"two lengths that differ", lengths("5", "6"), false, []string{"hello"}},
	{"two lengths, the second no number", lengths("5", "x"), false, []string{"hello"}},
	{"a length, and the stream's end", lengths("5"), true, nil},
	{"the largest length, and the stream's end", lengths("9223372036854775807"), true, nil},
	{"a length, and an empty DATA frame", lengths("5"), false, []string{""}},
	{"a body shorter than its length", lengths("5"), false, []string{"he", "l"}},
	{"a body longer than its length", lengths("5"), false, []string{"hello", "!"}},
	{"a body longer than its length, in one frame", lengths("5"), false, []string{"hello!"}},
	{"a length of 0, and a body", lengths("0"), false, []string{"hello"}},
	{"an absolute URI as :path", withPath(get, "http://evil/x"), true, nil},
	{"an absolute URI of another scheme", withPath(get, "ftp://evil/x"), true, nil},
	{"an opaque URI", withPath(get, "mailto:x"), true, nil},
	{"the asterisk with GET", withPath(get, "*"), true, nil},
	{"an authority with a slash", pacetest.H2Pairs(get, ":authority", "x/y"), true, nil},
	{"an authority with a quote", pacetest.H2Pairs(get, ":authority", `x"y`), true, nil},
	{"an authority with a fragment", pacetest.H2Pairs(get, ":authority", "x#y"), true, nil},
	{"an authority with a query", pacetest.H2Pairs(get, ":authority", "x?y"), true, nil},
	{"an authority with a blank", pacetest.H2Pairs(get, ":authority", "x y"), true, nil},
	{"an authority with a backslash", pacetest.H2Pairs(get, ":authority", `x\y`), true, nil},
	{"an authority beyond ASCII", pacetest.H2Pairs(get, ":authority", "é"), true, nil},
	{"an authority with a byte above 0x7f", pacetest.H2Pairs(get, ":authority", "x\xff"), true, nil},
	{"a host beyond ASCII in place of the authority", append(pacetest.H2Pairs(get, ":authority", "-"), "host", "é"), true, nil},
	{"a method with a blank", pacetest.H2Pairs(get, ":method", "GE T"), true, nil},
	{"a method with a quote", pacetest.H2Pairs(get, ":method", `"GET"`), true, nil},
	{"a method beyond ASCII", pacetest.H2Pairs(get, ":method", "G\u00e9T"), true, nil},
	{"an authority with a slash, and OPTIONS", pacetest.H2Pairs(get, ":authority", "x/y", ":method", "OPTIONS"), true, nil},
}

// TestH2_MalformedRequestsReachNoBackend: over HTTP/1.1 each of these is 400. Over HTTP/2 it must be as
// refused, and its body never dropped behind a 200. A length that lies may also be a reset of the stream.
func TestH2_MalformedRequestsReachNoBackend(t *testing.T) {
	t.Parallel()
	for _, tt := range h2MalformedRequests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p, spans := pacetest.StartTraced(t, upstreams(b))
			w := p.H2Wire()
			w.Headers(1, tt.end, tt.fields...)
			for i, data := range tt.data {
				w.WriteData(1, i == len(tt.data)-1, []byte(data))
			}
			got := w.Response(1).String()
			if got != "400" && (tt.data == nil || got != "RST_STREAM PROTOCOL_ERROR" && got != "400, RST_STREAM PROTOCOL_ERROR") {
				t.Errorf("the client got %s, want 400", got)
			}
			if err := w.Alive(); err != nil {
				t.Errorf("the connection is over: %v", err)
			}
			wantOneBadRequest(t, p)
			if server := pacetest.WantTrace(spans, 0, anySpan).Server; server.Attrs["pace.outcome"] != "bad_request" {
				t.Errorf("the span says %s", server.Attrs["pace.outcome"])
			}
			pacetest.Eventually(t, func() error {
				for _, r := range b.Requests() { // of a body that turned out wrong the header may have gone
					if tt.data == nil || r.BodyErr == nil {
						return notYet("the backend got %q with body %q", r.Head, r.Body)
					}
				}
				return nil
			})
		})
	}
}

// wantOneBadRequest holds line and metrics to one request that was malformed, and nothing else.
func wantOneBadRequest(t *testing.T, p *pacetest.Pace) {
	t.Helper()
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "bad_request", "http_response_status_code", "400")
	p.WantMetric(1, "http_server_request_duration_seconds_count")
	p.WantMetric(0, "pace_refused_total")
	pacetest.Eventually(t, func() error {
		return has(lineOf(p.Lines("request")), "bad_request 400")
	})
}

func anySpan(otlp.Span) bool { return true }

func lineOf(lines []pacetest.Line) string {
	var all []string
	for _, l := range lines {
		all = append(all, l.Text("outcome")+" "+l.Text("status"))
	}
	return strings.Join(all, ", ")
}

// TestH2_EmptyBodies: a request whose stream ends by an empty DATA frame has no body for the backend.
func TestH2_EmptyBodies(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		fields []string
		data   []string
		framed string // what the backend must see of a body's framing
		body   string
	}{
		{"GET", get, []string{""}, "", ""},
		{"GET, and two empty DATA frames", get, []string{"", ""}, "", ""},
		{"GET with a length of 0", append(get[:len(get):len(get)], "content-length", "0"), []string{""}, "", ""},
		{"HEAD", pacetest.H2Request("HEAD", "/x"), []string{""}, "", ""},
		{"DELETE", pacetest.H2Request("DELETE", "/x"), []string{""}, "", ""},
		{"OPTIONS", pacetest.H2Request("OPTIONS", "/x"), []string{""}, "", ""},
		{"a method that nobody knows", pacetest.H2Request("FROB", "/x"), []string{""}, "", ""},
		{"POST with a length of 0", lengths("0"), []string{""}, "content-length: 0", ""},
		{"the same length twice", lengths("5", "5"), []string{"hel", "lo"}, "content-length: 5", "hello"},
		{"GET with a body", get, []string{"hel", "", "lo"}, "transfer-encoding: chunked", "hello"},
		{"POST, whose end comes in a frame of its own", lengths("5"), []string{"hello", ""}, "content-length: 5", "hello"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p := pacetest.Start(t, upstreams(b))
			w := p.H2Wire()
			w.Headers(1, false, tt.fields...)
			for i, data := range tt.data {
				w.WriteData(1, i == len(tt.data)-1, []byte(data))
			}
			if got := w.Response(1).String(); got != "200" {
				t.Errorf("the client got %s, want 200", got)
			}
			got := b.WantGot(1, "/x")[0]
			var framed []string
			for line := range strings.Lines(strings.ToLower(got.Head)) {
				if name, _, _ := strings.Cut(line, ":"); name == "content-length" || name == "transfer-encoding" {
					framed = append(framed, strings.TrimSpace(line))
				}
			}
			if strings.Join(framed, ", ") != tt.framed || string(got.Body) != tt.body || got.BodyErr != nil {
				t.Errorf("the backend got %q, body %q (%v); want %q, body %q", framed, got.Body, got.BodyErr, tt.framed, tt.body)
			}
			if line := p.WantAccess("/x"); line.Text("outcome") != "ok" || line.Int("bytes_in") != len(tt.body) {
				t.Errorf("the line says %s, %s bytes in", line.Text("outcome"), line.Text("bytes_in"))
			}
		})
	}
}

// TestH2_ALateSurplus: a body that turns out longer than announced is malformed also when the surplus comes
// late. Until then the backend must not have got a body that looks whole.
func TestH2_ALateSurplus(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.H2Wire()
	w.Headers(1, false, lengths("5")...)
	w.WriteData(1, false, []byte("hello"))
	b.WantGot(1, "/x")
	if err := w.Alive(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(100 * time.Millisecond) // in which a backend that had got all would answer
	w.WriteData(1, true, []byte("!"))
	if got := w.Response(1); got.Status == 200 {
		t.Errorf("the client got %s", got)
	}
	wantOneBadRequest(t, p)
	pacetest.Eventually(t, func() error { return broken(b) })
}
