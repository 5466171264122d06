package contract

import (
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// targets are the targets that clients write, and what of them reaches the backend.
var targets = []struct {
	method, sent, want string
	http1only          bool // HTTP/2 has no absolute form
}{
	{"GET", "/a%2Fb/é", "/a%2Fb/%C3%A9", false},
	{"GET", "/a%2Fb/#x", "/a%2Fb/%23x", false},
	{"GET", "/%2e%2e%2f\xff", "/%2e%2e%2f%FF", false},
	{"GET", "/%3B;é|{}^`\"\\<>", "/%3B;%C3%A9|{}^`\"\\<>", false},
	{"GET", "/a//b/./../c?d=%2f&é#", "/a//b/./../c?d=%2f&%C3%A9%23", false},
	{"GET", "/plain%7e|%41?", "/plain%7e|%41?", false},
	{"GET", "http://h.example/a%2Fb|%7e;%3B?q=%2F", "/a%2Fb|%7e;%3B?q=%2F", true},
	{"GET", "http://h.example/é%2f", "/%C3%A9%2f", true},
	{"GET", "http://h.example", "/", true},
	{"GET", "http://h.example?q", "/?q", true},
	{"OPTIONS", "http://h.example", "*", true},
	{"OPTIONS", "http://h.example:8080", "*", true},
	{"OPTIONS", "http://h.example/", "/", true},
	{"OPTIONS", "*", "*", false},
}

func TestTargets_GoOnAsTheyCame(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	want := 0
	for i, tt := range targets {
		for _, version := range []string{"HTTP/1.1", "HTTP/2"} {
			status := "200"
			switch {
			case version == "HTTP/1.1":
				w := p.Wire()
				w.Send(tt.method + " " + tt.sent + " HTTP/1.1\r\nHost: h.example\r\n\r\n")
				wantStatus(t, w.Response(tt.method), 200)
			case tt.http1only:
				continue
			default:
				status = askHTTP2(t, p, "", ":method", tt.method, ":path", tt.sent)
			}
			want++
			got := b.Requests()
			if status != "200" || len(got) != want {
				t.Fatalf("case %d, %s %q over %s: status %s, the backend got %d requests, want %d", i, tt.method, tt.sent, version, status, len(got), want)
			}
			if last := got[want-1]; last.Target != tt.want || last.Method != tt.method {
				t.Errorf("%s %q over %s: the backend got %s %q, want %q", tt.method, tt.sent, version, last.Method, last.Target, tt.want)
			}
		}
		path, _, _ := strings.Cut(tt.want, "?")
		if len(p.Access(path)) == 0 {
			pacetest.Eventually(t, func() error {
				if len(p.Access(path)) == 0 {
					return notYet("an access line with the path %q", path)
				}
				return nil
			})
		}
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/a%2Fb/%23x"))
	wantAttr(t, trace.Server.Attrs, "url.path", "/a%2Fb/%23x")
	p.WantMetric(float64(want), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}

func TestTargets_AnAsteriskIsForOptionsOnly(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	for _, method := range []string{"GET", "POST", "BREW"} {
		w := p.Wire()
		w.Send(method + " * HTTP/1.1\r\nHost: x\r\n\r\n")
		wantStatus(t, w.Response(method), 400)
	}
	if got := len(b.Requests()); got != 0 {
		t.Errorf("the backend got %d requests, want none", got)
	}
	p.WantMetric(3, "http_server_request_duration_seconds_count", "pace_outcome", "bad_request")
}

// TestTargets_AnAbsoluteOneNamesAValidHost: what its host becomes must be fit for a Host field, as if the
// client had sent that field.
func TestTargets_AnAbsoluteOneNamesAValidHost(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	bad := []string{
		"http://h\x80/x", "http://h%80/x", "http://h%C3%A9/x", "http://h\"x/", "http://h<x>/x",
		"http://[fe80::1%25a%20b]/x",
		"http:///x", "http:/x", "http://", "HTTP://?x", "http://u@/x",
	}
	for _, target := range bad {
		for _, method := range []string{"GET", "OPTIONS"} {
			w := p.Wire()
			w.Send(method + " " + target + " HTTP/1.1\r\nHost: h.example\r\n\r\n")
			if got := w.Response(method).Status; got != 400 {
				t.Errorf("%s %q: status %d, want 400", method, target, got)
			}
		}
	}
	for _, got := range b.Requests() {
		t.Errorf("the backend got %q", got.Head)
	}
	p.WantMetric(float64(2*len(bad)), "pace_requests_total", "pace_outcome", "bad_request")
	p.WantMetric(0, "http_client_request_duration_seconds_count") // no backend was picked for them
	for _, target := range []string{"http://[::1]:80/x", "HTTP://H.Example:8080/x", "http://[fe80::1%25eth0]/x", "http://u:p@h/x"} {
		w := p.Wire()
		w.Send("GET " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
	}
}

func TestMaxForwards_IsDecremented(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	for i, tt := range []struct{ method, sent, want, connection string }{
		{"TRACE", "1", "0", ""},
		{"TRACE", "1", "0", "Max-Forwards"}, // it is for every proxy on the way, whatever the client says
		{"OPTIONS", "10", "9", ""},
		{"TRACE", "010", "9", ""},
		{"OPTIONS", "99999999999999999999999", "18446744073709551614", ""},
		{"OPTIONS", "-1", "-1", ""},
		{"OPTIONS", "many", "many", ""},
		{"GET", "0", "0", ""},
		{"POST", "7", "7", ""},
	} {
		w := p.Wire()
		w.Send(tt.method + " /x HTTP/1.1\r\nHost: x\r\nConnection: " + tt.connection + "\r\nContent-Length: 0\r\nMax-Forwards: " + tt.sent + "\r\n\r\n")
		wantStatus(t, w.Response(tt.method), 200)
		if status := askHTTP2(t, p, "", ":method", tt.method, ":path", "/x", "max-forwards", tt.sent); status != "200" {
			t.Errorf("%s with Max-Forwards: %s over HTTP/2: status %s", tt.method, tt.sent, status)
		}
		for _, got := range b.WantGot(2*i+2, "/x")[2*i:] {
			if all := got.Header["Max-Forwards"]; len(all) != 1 || all[0] != tt.want {
				t.Errorf("%s with Max-Forwards: %s: the backend got %q, want %s", tt.method, tt.sent, all, tt.want)
			}
		}
	}
}

func TestMaxForwards_OfZeroIsAnsweredByPace(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, upstreams(b))
	n := 0
	for _, method := range []string{"TRACE", "OPTIONS"} {
		for _, target := range []string{"/x", "/x?q=1"} {
			w := p.Wire()
			w.Send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nCookie: secret\r\nMax-Forwards: 0\r\n\r\n")
			got := w.Response(method)
			wantStatus(t, got, 200)
			if !strings.Contains(got.Body, "responded") || strings.Contains(got.Body, "secret") || got.Header.Get("Proxy-Status") != "" || got.Header.Get("X-Backend") != "" {
				t.Errorf("%s: the client got %v %q", method, got.Header, got.Body)
			}
			if status := askHTTP2(t, p, "", ":method", method, ":path", target, "max-forwards", "0"); status != "200" {
				t.Errorf("%s over HTTP/2: status %s", method, status)
			}
			n += 2
		}
	}
	if got := len(b.Requests()); got != 0 {
		t.Errorf("the backend got %d requests, want none", got)
	}
	p.WantMetric(float64(n), "http_server_request_duration_seconds_count", "pace_outcome", "responded", "http_response_status_code", "200")
	p.WantMetric(float64(n), "pace_requests_total", "pace_outcome", "responded", "pace_side", "none")
	p.WantMetric(0, "pace_rejections_total")
	trace := pacetest.WantTrace(spans, 0, pacetest.Path("/x"))
	wantAttr(t, trace.Server.Attrs, "pace.outcome", "responded")
	lacksAttr(t, trace.Server.Attrs, "error.type")
	p.Stop() // writes what of the log is not written yet
	lines := p.Access("/x")
	if len(lines) != n || lines[0].Text("outcome") != "responded" || lines[0].Text("level") != "INFO" || lines[0].Int("attempts") != 0 {
		t.Errorf("access lines: %v", lines)
	}
}
