package contract

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
)

// stopped stops pace for longer than the timeouts of these tests, most of which are 1 s. Others act meanwhile.
func stopped(p *pacetest.Pace, meanwhile func()) { stoppedFor(p, 2*time.Second, meanwhile) }

func stoppedFor(p *pacetest.Pace, d time.Duration, meanwhile func()) {
	p.Signal(syscall.SIGSTOP)
	time.Sleep(50 * time.Millisecond) // until it stands
	meanwhile()
	time.Sleep(d)
	p.Signal(syscall.SIGCONT)
}

// settle is how long pace may take to come to rest before it is stopped.
const settle = 300 * time.Millisecond

// TestStopped_AResponseThatLiesInTheSocketIsInTime stops pace for longer than response_timeout, while the
// backends answer.
func TestStopped_AResponseThatLiesInTheSocketIsInTime(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, set(upstreams(b), "upstreams", "response_timeout", "1s"))
	wires := make([]*pacetest.Wire, 20)
	for i := range wires {
		wires[i] = p.Wire()
		wires[i].Send(fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: x\r\n\r\n", i))
	}
	for i := range wires {
		b.WantGot(1, fmt.Sprintf("/%d", i))
	}
	stopped(p, func() { close(open) })
	for _, w := range wires {
		wantStatus(t, w.Response("GET"), 200)
	}
	p.WantMetric(float64(len(wires)), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}

// TestStopped_ARequestThatLiesInTheSocketIsInTime, whatever part of it came while pace was stopped.
func TestStopped_ARequestThatLiesInTheSocketIsInTime(t *testing.T) {
	t.Parallel()
	const large = 8 << 20
	tests := []struct {
		name, key, before, meanwhile string
	}{
		{"the rest of a header", "read_header_timeout", "GET /x HTTP/1.1\r\nHo", "st: x\r\n\r\n"},
		{"a header longer than one read", "read_header_timeout", "GET /x HTTP/1.1\r\nHo", "st: x\r\nLong: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"},
		{"a whole header on a new connection", "read_header_timeout", "", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"the next request", "idle_timeout", "GET /first HTTP/1.1\r\nHost: x\r\n\r\n", "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"the rest of a body", "body_timeout", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nda", "ta"},
		{"a whole body", "body_timeout", "POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", "data"},
		{"the rest of a chunk", "body_timeout", "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nda", "ta\r\n0\r\n\r\n"},
		{"the last chunk", "body_timeout", "POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n", "0\r\n\r\n"},
		{"a body that goes through the kernel", "body_timeout",
			fmt.Sprintf("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", large) + strings.Repeat("x", large/2), strings.Repeat("x", large/2)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) })
			p := pacetest.Start(t, set(upstreams(b), "server", tt.key, "1s"))
			w := p.Wire()
			w.Send(tt.before)
			if strings.HasPrefix(tt.before, "GET /first") {
				wantStatus(t, w.Response("GET"), 200)
			}
			time.Sleep(settle)
			stopped(p, func() { go io.WriteString(w, tt.meanwhile) }) // more than the kernel holds waits there
			wantStatus(t, w.Response("GET"), 200)
			_, body, _ := strings.Cut(tt.before+tt.meanwhile, "\r\n\r\n")
			got := b.WantGot(1, "/x")[0]
			if strings.Contains(tt.before, "Content-Length") && string(got.Body) != body || got.BodyErr != nil {
				t.Errorf("the backend got %d bytes, %v; want %d", len(got.Body), got.BodyErr, len(body))
			}
			if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
				t.Errorf("log says %s", outcome)
			}
			if n := p.Metrics().Sum("pace_refused_total"); n != 0 {
				t.Errorf("%v refused", n)
			}
		})
	}
}

// TestStopped_ABodyOverHTTP2ThatLiesInTheSocketIsInTime as one over HTTP/1.1 is.
func TestStopped_ABodyOverHTTP2ThatLiesInTheSocketIsInTime(t *testing.T) {
	t.Parallel()
	for _, length := range []string{"-", "4"} {
		t.Run("content-length "+length, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) })
			p := pacetest.Start(t, set(upstreams(b), "server", "body_timeout", "1s"))
			w := p.H2Wire()
			w.Headers(1, false, pacetest.H2Pairs(append(pacetest.H2Request("POST", "/x"), "content-length", "4"), "content-length", length)...)
			w.WriteData(1, false, []byte("da"))
			time.Sleep(settle)
			stopped(p, func() { w.WriteData(1, true, []byte("ta")) })
			if got := w.Response(1); got.Status != 200 {
				t.Errorf("answered %v", got)
			}
			if got := b.WantGot(1, "/x")[0]; string(got.Body) != "data" || got.BodyErr != nil {
				t.Errorf("the backend got %q, %v", got.Body, got.BodyErr)
			}
			if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
				t.Errorf("log says %s", outcome)
			}
		})
	}
}

// TestStopped_AClientThatStallsIsStillLate: what does not lie in the socket is late, also when pace was
// stopped, and a client gains no time by sending a little.
func TestStopped_AClientThatStallsIsStillLate(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBody(); pacetest.Fine(x) })
	p := pacetest.Start(t, set(set(upstreams(b), "server", "body_timeout", "1s"), "server", "read_header_timeout", "1s"))
	header, body, h2 := p.Wire(), p.Wire(), p.H2Wire()
	header.Send("GET /x HTTP/1.1\r\nHo")
	body.Send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nd")
	h2.Headers(1, false, pacetest.H2Request("POST", "/h2")...)
	h2.WriteData(1, false, []byte("d"))
	time.Sleep(settle)
	stopped(p, func() {
		header.Send("st: x\r\n")
		body.Send("a")
		h2.WriteData(1, false, []byte("a"))
	})
	if rest, err := header.Rest(); rest != "" || err != nil {
		t.Errorf("half a header is answered by %q, %v; want nothing and the end", rest, err)
	}
	wantStatus(t, body.Response("POST"), 408)
	if got := h2.Response(1); got.Status != 408 {
		t.Errorf("over HTTP/2: %v, want 408", got)
	}
	p.WantMetric(1, "pace_refused_total", "reason", "header_timeout")
	p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "request_timeout")
}

// huge is more than the buffers between three processes hold.
const huge = 48 << 20

// zeros is a body of so many bytes.
func zeros(n int64) io.Reader { return io.LimitReader(zero{}, n) }

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// TestStopped_ABackendThatTookWhatWasSentIsInTime stops pace in a write that a backend has held up. (The
// kernel tells of the room before the deadline, mostly; TestWriting_LooksOnceMore has it otherwise.)
func TestStopped_ABackendThatTookWhatWasSentIsInTime(t *testing.T) {
	t.Parallel()
	for _, length := range []int64{huge, -1} {
		pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
			open := make(chan struct{})
			b := pacetest.NewBackend(t, pacetest.Gated(open, func(x *pacetest.Exchange) { x.CopyBody(io.Discard); pacetest.Fine(x) }))
			p := pacetest.Start(t, set(upstreams(b), "upstreams", "response_timeout", "3s")) // a busy machine may need 1 s for a piece
			req := p.Request("POST", "/x", "")
			req.Body, req.ContentLength = io.NopCloser(zeros(huge)), length
			response := make(chan pacetest.Response, 1)
			client := mode.Client(t)
			go func() { response <- pacetest.Do(client, req) }()
			b.WantGot(1, "/x")
			time.Sleep(settle)
			stoppedFor(p, 4*time.Second, func() { close(open) })
			wantStatus(t, <-response, 200)
			if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
				t.Errorf("length %d: log says %s", length, outcome)
			}
		})
	}
}

// TestStopped_AClientThatTookItsResponseIsInTime stops pace in a write that a client has held up.
func TestStopped_AClientThatTookItsResponseIsInTime(t *testing.T) {
	t.Parallel()
	for _, framing := range []string{fmt.Sprint("Content-Length: ", huge), "Connection: close"} {
		pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.Write("HTTP/1.1 200 OK\r\n%s\r\n\r\n", framing)
				for piece, sent := strings.Repeat("x", 1<<20), 0; sent < huge && x.Write("%s", piece); {
					sent += len(piece)
				}
				x.Close()
			})
			p := pacetest.Start(t, set(upstreams(b), "server", "deliver_timeout", "3s"))
			resp, err := mode.Client(t).Do(p.Request("GET", "/x", ""))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			time.Sleep(settle)
			type read struct {
				n   int64
				err error
			}
			taken := make(chan read, 1)
			stoppedFor(p, 4*time.Second, func() {
				go func() {
					n, err := io.Copy(io.Discard, resp.Body)
					taken <- read{n, err}
				}()
			})
			if got := <-taken; got != (read{huge, nil}) {
				t.Errorf("%s: the client got %v, want %d bytes", framing, got, huge)
			}
			if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
				t.Errorf("%s: log says %s", framing, outcome)
			}
		})
	}
}

// TestStopped_AnHTTP2ClientThatReadsNothingIsInTime: here the kernel's buffers are full, and no window is shut.
func TestStopped_AnHTTP2ClientThatReadsNothingIsInTime(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Status(200, strings.Repeat("x", huge)))
	p := pacetest.Start(t, set(upstreams(b), "server", "deliver_timeout", "5s")) // a busy machine may need some time for each piece
	w := p.H2Wire()
	w.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	w.WriteWindowUpdate(0, 1<<31-1-65535)
	w.Headers(1, true, pacetest.H2Request("GET", "/x")...)
	time.Sleep(settle)
	got := make(chan pacetest.H2Response, 1)
	stoppedFor(p, 6*time.Second, func() { go func() { got <- w.Response(1) }() })
	if a := <-got; a.Status != 200 || a.Err != nil || len(a.Body) != huge {
		t.Errorf("the client got %v, %d bytes", a, len(a.Body))
	}
	if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
		t.Errorf("log says %s", outcome)
	}
}

// TestStopped_AConnectionThatWasEstablishedIsInTime stops pace while it connects. The backend answers its
// second SYN, which the kernel sends after 1 s.
func TestStopped_AConnectionThatWasEstablishedIsInTime(t *testing.T) {
	t.Parallel()
	hole := pacetest.NewBlackhole(t)
	p := pacetest.Start(t, set(upstreams(hole), "upstreams", "connect_timeout", "1500ms"))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
	time.Sleep(settle)
	stopped(p, hole.Open)
	pacetest.Eventually(t, func() error {
		if list := inFlight(t, p); len(list) != 1 || list[0]["phase"] != "wait" {
			return notYet("in flight: %v", list)
		}
		return nil
	})
	w.Leave()
	if line := p.WantAccess("/x"); line.Text("outcome") != "client_gone" || line["left_in"] != "wait" && line["left_in"] != nil {
		t.Errorf("log says %v", line)
	}
}

// TestBodyTimeout_IsNotOfTheBackend: while the backend takes its time, no client is late.
func TestBodyTimeout_IsNotOfTheBackend(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			time.Sleep(3 * time.Second)
			x.CopyBody(io.Discard)
			pacetest.Fine(x)
		})
		p := pacetest.Start(t, set(upstreams(b), "server", "body_timeout", "1s"))
		req := p.Request("POST", "/x", "")
		req.Body, req.ContentLength = io.NopCloser(zeros(huge)), -1
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, http.StatusOK)
		if outcome := p.WantAccess("/x").Text("outcome"); outcome != "ok" {
			t.Errorf("log says %s", outcome)
		}
	})
}
