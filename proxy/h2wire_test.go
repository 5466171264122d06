package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"pace/telemetry/metrics"
)

// h2Wire is an HTTP/2 client that sends whatever it is told.
type h2Wire struct {
	net.Conn
	streams uint32
	hpack   *hpack.Encoder
	block   bytes.Buffer
}

func (p *proxied) h2Wire(t testing.TB) *h2Wire {
	t.Helper()
	c, r := p.dial(t)
	go io.Copy(io.Discard, r)
	io.WriteString(c, preface)
	return newH2Wire(c)
}

func newH2Wire(c net.Conn) *h2Wire {
	w := &h2Wire{Conn: c}
	w.hpack = hpack.NewEncoder(&w.block)
	return w
}

// get sends a GET for path with these fields: name, value, name, value.
func (w *h2Wire) get(path string, fields ...string) {
	const headers, continuation, endStream, endHeaders = 1, 9, 1, 4
	w.block.Reset()
	all := append([]string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", path}, fields...)
	for i := 0; i < len(all); i += 2 {
		w.hpack.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
	}
	kind, flags := byte(headers), byte(endStream)
	for last := false; !last; kind, flags = continuation, 0 {
		part := w.block.Next(1 << 14)
		if last = w.block.Len() == 0; last {
			flags |= endHeaders
		}
		w.Write(frame(kind, flags, 2*w.streams+1, part))
	}
	w.streams++
}

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(b, flags), stream), payload...)
}

// TestRefused_HTTP2 provokes what net/http answers by itself, on a connection whose other requests
// get answers that look the same.
func TestRefused_HTTP2(t *testing.T) {
	t.Parallel()
	p := start(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		status, _ := strconv.Atoi(r.URL.Path[1:])
		w.Header().Set("Link", "</a>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(status)
		fmt.Fprint(w, strings.Repeat("HTTP/1.1 400 ", 100))
		w.Header().Set("X-Sum", "42")
	}))
	w := p.h2Wire(t)
	const rounds = 10
	for range rounds {
		for _, status := range []string{"/200", "/400", "/431", "/404"} {
			w.get(status)
		}
		for _, field := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"} {
			w.get("/200", field, "x")
		}
		w.get("/200", slices.Repeat([]string{"x-long", strings.Repeat("x", 8000)}, 9)...)
		w.get("/bad", ":late", "a pseudo-field that is none") // reset
	}
	for reason, want := range map[string]float64{"bad_request": 6 * rounds, "header_too_large": rounds, "h2_error": rounds} {
		waitFor(t, reason, func() bool { return p.metric(t, metrics.Refused.Name, "reason", reason) >= want })
		if got := p.metric(t, metrics.Refused.Name, "reason", reason); got != want {
			t.Errorf("%v refused for %s, want %v", got, reason, want)
		}
	}
	p.lines(t, 4*rounds)
	if got := p.metric(t, metrics.Refused.Name); got != 8*rounds {
		t.Errorf("%v refused, want %v", got, 8*rounds)
	}
}
