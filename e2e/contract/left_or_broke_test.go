package contract

import (
	"testing"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

// ending is one way in which a client ends its own request.
type ending struct {
	name string
	act  func(t *testing.T, p *pacetest.Pace, b *pacetest.Backend)
}

// overH2 sends a header and, once the backend has seen the request, lets the client act.
func overH2(end bool, fields []string, data string, act func(w *pacetest.H2Wire)) func(*testing.T, *pacetest.Pace, *pacetest.Backend) {
	return func(t *testing.T, p *pacetest.Pace, b *pacetest.Backend) {
		w := p.H2Wire()
		w.Headers(1, end, fields...)
		if data != "" {
			w.WriteData(1, false, []byte(data))
		}
		b.WantGot(1, "/x")
		act(w)
	}
}

// overH1 sends the head of a chunked upload and, once the backend has seen it, the rest, and then leaves.
func overH1(rest string, leave func(w *pacetest.Wire)) func(*testing.T, *pacetest.Pace, *pacetest.Backend) {
	return func(t *testing.T, p *pacetest.Pace, b *pacetest.Backend) {
		w := p.Wire()
		w.Send("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n")
		b.WantGot(1, "/x")
		w.Send(rest)
		leave(w)
	}
}

func reset(code http2.ErrCode) func(*pacetest.H2Wire) {
	return func(w *pacetest.H2Wire) { w.WriteRSTStream(1, code) }
}

func fin(w *pacetest.Wire)  { w.CloseWrite() }
func stay(w *pacetest.Wire) {}

// leavings are the ways to leave. None is a bad request.
var leavings = []ending{
	{"h2 upload, RST_STREAM CANCEL", overH2(false, post, "hel", reset(http2.ErrCodeCancel))},
	{"h2 upload, RST_STREAM NO_ERROR", overH2(false, post, "hel", reset(http2.ErrCodeNo))},
	{"h2 upload, RST_STREAM PROTOCOL_ERROR", overH2(false, post, "hel", reset(http2.ErrCodeProtocol))},
	{"h2 upload with a length, RST_STREAM", overH2(false, lengths("5"), "hel", reset(http2.ErrCodeCancel))},
	{"h2 upload, all bytes came but not the end, RST_STREAM", overH2(false, lengths("3"), "", func(w *pacetest.H2Wire) {
		w.WriteData(1, false, []byte("hel"))
		w.WriteRSTStream(1, http2.ErrCodeCancel)
	})},
	{"h2 upload, before any of it, RST_STREAM", overH2(false, post, "", reset(http2.ErrCodeCancel))},
	{"h2 upload, FIN", overH2(false, post, "hel", (*pacetest.H2Wire).Close)},
	{"h2 upload, RST", overH2(false, post, "hel", (*pacetest.H2Wire).Leave)},
	{"h2 upload with a length, FIN", overH2(false, lengths("5"), "hel", (*pacetest.H2Wire).Close)},
	{"h2 upload with a length, RST", overH2(false, lengths("5"), "hel", (*pacetest.H2Wire).Leave)},
	{"h2 upload, GOAWAY and FIN", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.WriteGoAway(0, http2.ErrCodeInternal, nil); w.Close() })},
	{"h2 upload, FIN in mid-frame", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.Conn.Write([]byte("\x00\x00\x09\x00\x00")); w.Close() })},
	{"h2, waiting, RST_STREAM", overH2(true, get, "", reset(http2.ErrCodeCancel))},
	{"h2, waiting, FIN", overH2(true, get, "", (*pacetest.H2Wire).Close)},
	{"h2, waiting, RST", overH2(true, get, "", (*pacetest.H2Wire).Leave)},
	{"h1 upload, FIN in a chunk", overH1("5\r\nhe", fin)},
	{"h1 upload, FIN in a chunk's size", overH1("5", fin)},
	{"h1 upload, FIN between chunks", overH1("", fin)},
	{"h1 upload, FIN after the last chunk's size", overH1("0", fin)},
	{"h1 upload, FIN before the trailer", overH1("0\r\n", fin)},
	{"h1 upload, FIN in the trailer", overH1("0\r\nX-Sum", fin)},
	{"h1 upload, FIN after a line of the trailer", overH1("0\r\nX-Sum: 1\r\n", fin)},
	{"h1 upload, FIN in the last line", overH1("0\r\n\r", fin)},
	{"h1 upload, RST before the trailer", overH1("0\r\n", (*pacetest.Wire).Leave)},
	{"h1 upload, RST in a chunk", overH1("5\r\nhe", (*pacetest.Wire).Leave)},
}

// faults are the ways to break a rule. No client has left.
var faults = []ending{
	{"h2, DATA after the end", overH2(true, get, "", func(w *pacetest.H2Wire) { w.WriteData(1, false, []byte("x")) })},
	{"h2, HEADERS after the end", overH2(true, get, "", func(w *pacetest.H2Wire) { w.Headers(1, true, "x", "y") })},
	{"h2, a window that grows by nothing", overH2(true, get, "", func(w *pacetest.H2Wire) { w.WriteWindowUpdate(1, 0) })},
	{"h2, a window that grows too large", overH2(true, get, "", func(w *pacetest.H2Wire) { w.WriteWindowUpdate(1, 1<<31-1) })},
	{"h2, a stream that depends on itself", overH2(true, get, "", func(w *pacetest.H2Wire) { w.WritePriority(1, http2.PriorityParam{StreamDep: 1}) })},
	{"h2 upload, a body longer than its length", overH2(false, lengths("5"), "hel", func(w *pacetest.H2Wire) { w.WriteData(1, false, []byte("lo!")) })},
	{"h2 upload, a body longer than its length, and RST_STREAM", overH2(false, lengths("5"), "hel", func(w *pacetest.H2Wire) {
		w.WriteData(1, false, []byte("lo!"))
		w.WriteRSTStream(1, http2.ErrCodeCancel)
	})},
	{"h2 upload, a body longer than its length, and FIN", overH2(false, lengths("5"), "hel", func(w *pacetest.H2Wire) {
		w.WriteData(1, false, []byte("lo!"))
		w.Close()
	})},
	{"h2 upload, a body shorter than its length, and FIN", overH2(false, lengths("5"), "hel", func(w *pacetest.H2Wire) {
		w.WriteData(1, true, nil)
		w.Close()
	})},
	{"h2 upload, a trailer with a capital", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.Headers(1, true, "X-Sum", "1") })},
	{"h2 upload, a trailer that does not end it", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.Headers(1, false, "x-sum", "1") })},
	{"h2 upload, a trailer with a pseudo-field", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.Headers(1, true, ":path", "/") })},
	{"h2 upload, a window that grows by nothing", overH2(false, post, "hel", func(w *pacetest.H2Wire) { w.WriteWindowUpdate(1, 0) })},
	{"h1 upload, a chunk's size that is none", overH1("zz\r\n", stay)},
	{"h1 upload, a chunk's size that is none, and FIN", overH1("zz\r\n", fin)},
	{"h1 upload, a trailer that is none", overH1("0\r\nno field\r\n\r\n", stay)},
}

// TestLeaving_IsNoBadRequest: a client that leaves is client_gone, in whatever way and phase it leaves.
func TestLeaving_IsNoBadRequest(t *testing.T) {
	t.Parallel()
	wantEndings(t, leavings, "client_gone", 499)
}

// TestFaults_AreNoLeaving: a stream that is reset because its client broke a rule is a bad request.
func TestFaults_AreNoLeaving(t *testing.T) {
	t.Parallel()
	wantEndings(t, faults, "bad_request", 400)
}

func wantEndings(t *testing.T, endings []ending, outcome string, status int) {
	for _, tt := range endings {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Hang)
			p, spans := pacetest.StartTraced(t, upstreams(b))
			tt.act(t, p, b)
			line := p.WantAccess("/x")
			if line.Text("outcome") != outcome || line.Int("status") != status {
				t.Errorf("the line says %s, %s; want %s, %d", line.Text("outcome"), line.Text("status"), outcome, status)
			}
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", outcome)
			p.WantMetric(1, "http_server_request_duration_seconds_count")
			p.WantMetric(0, "pace_refused_total")
			trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
			if got := trace.Server.Attrs["pace.outcome"]; got != outcome || len(trace.Clients) != 1 {
				t.Errorf("the span says %s, with %d CLIENT spans", got, len(trace.Clients))
			}
		})
	}
}

// TestLeaving_InTheResponse: the same holds while the response is delivered.
func TestLeaving_InTheResponse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		end     bool // of the request, before the client acts
		act     func(w *pacetest.H2Wire)
		outcome string
	}{
		{"RST_STREAM", true, reset(http2.ErrCodeCancel), "client_aborted"},
		{"FIN", true, (*pacetest.H2Wire).Close, "client_aborted"},
		{"RST", true, (*pacetest.H2Wire).Leave, "client_aborted"},
		{"RST_STREAM in the upload", false, reset(http2.ErrCodeCancel), "client_aborted"},
		{"FIN in the upload", false, (*pacetest.H2Wire).Close, "client_aborted"},
		{"RST in the upload", false, (*pacetest.H2Wire).Leave, "client_aborted"},
		{"DATA after the end", true, func(w *pacetest.H2Wire) { w.WriteData(1, false, []byte("x")) }, "bad_request"},
		{"a window that grows by nothing", true, func(w *pacetest.H2Wire) { w.WriteWindowUpdate(1, 0) }, "bad_request"},
		{"a bad trailer", false, func(w *pacetest.H2Wire) { w.Headers(1, true, "X-Sum", "1") }, "bad_request"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf!")
				x.AwaitClose()
			})))
			w := p.H2Wire()
			w.Headers(1, tt.end, post...)
			for began := false; !began; {
				f, err := w.ReadFrame()
				if err != nil {
					t.Fatalf("no response: %v", err)
				}
				_, began = f.(*http2.DataFrame)
			}
			tt.act(w)
			if line := p.WantAccess("/x"); line.Text("outcome") != tt.outcome || line.Int("status") != 200 {
				t.Errorf("the line says %s, %s; want %s, 200", line.Text("outcome"), line.Text("status"), tt.outcome)
			}
			p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", tt.outcome)
		})
	}
}

// TestFaults_OfAConnectionDeliverNothing: after a fault of the connection net/http sends GOAWAY and then
// nothing more, but takes what handlers write for another second. What comes from the backend in that time
// reaches nobody, so it is not ok.
func TestFaults_OfAConnectionDeliverNothing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		before string // what the backend sends before the fault
		after  string // and after it
		status int
	}{
		{"in wait", "", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 400},
		{"in wait, and the response has no body", "", "HTTP/1.1 204 No Content\r\n\r\n", 400},
		{"in the response", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok", "ok", 200},
		{"in the response, which is chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "0\r\n\r\n", 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			broken := make(chan struct{})
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("%s", tt.before)
				<-broken
				x.Write("%s", tt.after)
			})
			p := pacetest.Start(t, upstreams(b))
			w := p.H2Wire()
			w.Headers(1, true, get...)
			b.WantGot(1, "/x")
			for tt.before != "" { // until pace has passed it on
				if f, err := w.ReadFrame(); err != nil {
					t.Fatal(err)
				} else if f.Header().Type == http2.FrameData {
					break
				}
			}
			w.WriteRawFrame(http2.FramePing, 0, 0, []byte{0})
			for {
				f, err := w.ReadFrame()
				if err != nil {
					t.Fatal(err)
				}
				if f.Header().Type == http2.FrameGoAway {
					break
				}
			}
			close(broken)
			line := p.WantAccess("/x")
			if line.Text("outcome") != "bad_request" || line.Int("status") != tt.status {
				t.Errorf("the line says %s, %s; want bad_request, %d", line.Text("outcome"), line.Text("status"), tt.status)
			}
			p.WantMetric(1, "pace_requests_total", "pace_outcome", "bad_request")
			p.WantMetric(0, "pace_requests_total", "pace_outcome", "ok")
		})
	}
}
