package contract

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/e2e/pacetest"
)

const largest = "9223372036854775807" // of an int64

// refuseBody responds 413 without reading the body, and ends the connection.
func refuseBody(x *pacetest.Exchange) {
	x.Write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")
	x.Close()
}

func TestTheLargestContentLength(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST", "PUT", "DELETE", "OPTIONS"} {
		t.Run(method+" over HTTP/1.1 goes to the backend", func(t *testing.T) {
			b := pacetest.NewBackend(t, refuseBody)
			p, spans := pacetest.StartTraced(t, upstreams(b))
			w := p.Wire()
			w.Send(method + " /x HTTP/1.1\r\nHost: x\r\nContent-Length: " + largest + "\r\n\r\nabc")
			if got := w.Response(method); got.Status != 413 || got.Body != "big" {
				t.Errorf("the client got %d %q, want the backend's 413", got.Status, got.Body)
			}
			wantLargest(t, p, b)
			trace := pacetest.WantTrace(spans, 1, pacetest.Path("/x"))
			wantAttr(t, trace.Server.Attrs, "pace.outcome", "client_error")
		})
	}
	t.Run("POST over HTTP/2 goes to the backend", func(t *testing.T) {
		b := pacetest.NewBackend(t, refuseBody)
		p := pacetest.Start(t, upstreams(b))
		if got := largestOverHTTP2(t, p); got != "413" {
			t.Errorf("the client got %q, want the backend's 413", got)
		}
		wantLargest(t, p, b)
	})
}

// wantLargest fails t unless the backend got this length, and all signals have that of its response.
func wantLargest(t *testing.T, p *pacetest.Pace, b *pacetest.Backend) {
	t.Helper()
	if got := b.WantGot(1, "/x")[0].Header.Get("Content-Length"); got != largest {
		t.Errorf("the backend was told of %q bytes, want %s", got, largest)
	}
	line := p.WantAccess("/x")
	if line.Text("outcome") != "client_error" || line.Int("status") != 413 {
		t.Errorf("the access line says %s %d", line.Text("outcome"), line.Int("status"))
	}
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "client_error")
	p.WantMetric(0, "http_server_request_duration_seconds_count", "pace_outcome", "internal_error")
	if strings.Contains(p.Output(), "panic") {
		t.Errorf("pace tells of a panic:\n%s", p.Output())
	}
}

func largestOverHTTP2(t *testing.T, p *pacetest.Pace) (status string) {
	t.Helper()
	return askHTTP2(t, p, "abc", ":method", "POST", ":path", "/x", "content-length", largest)
}

// askHTTP2 sends a request with these fields, name and value in turn, and what there is of its body.
// It returns the status of the response, or the error instead of one. net/http's client would put
// some fields right.
func askHTTP2(t *testing.T, p *pacetest.Pace, body string, fields ...string) (status string) {
	t.Helper()
	w := p.Wire()
	var block, out strings.Builder
	e := hpack.NewEncoder(&block)
	for all := append(fields[:4:4], append([]string{":scheme", "http", ":authority", "x"}, fields[4:]...)...); len(all) > 0; all = all[2:] {
		e.WriteField(hpack.HeaderField{Name: all[0], Value: all[1]})
	}
	f := http2.NewFramer(&out, w)
	io.WriteString(&out, http2.ClientPreface)
	f.WriteSettings()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: body == ""})
	if body != "" {
		f.WriteData(1, false, []byte(body))
	}
	w.Send(out.String())
	f.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return fmt.Sprint(err)
		}
		switch frame := frame.(type) {
		case *http2.MetaHeadersFrame:
			return frame.PseudoValue("status")
		case *http2.RSTStreamFrame:
			return fmt.Sprint(frame.ErrCode)
		}
	}
}
