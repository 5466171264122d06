package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"pace/proxy/upstream"
)

// A response that was kept is whole, so it is no stream, whatever its type says.
func TestKept_EventsAreNoStream(t *testing.T) {
	t.Parallel()
	busy := func(c net.Conn, r *bufio.Reader) {
		http.ReadRequest(r)
		io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\ndata: 1\n\n")
	}
	p := start(t, func(s *setup) {
		s.pool.Retry = upstream.RetryOptions{Failovers: 1, On: []string{"503", "connect_failed"}, Budget: 1}
	}, rawOrigin(t, busy), "127.0.0.1:1")
	for range 2 { // in one of them, the backend that responds is asked first
		if got := p.say(t, "GET /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503 ") || !strings.HasSuffix(got, "data: 1\n\n") {
			t.Errorf("got %q", got)
		}
	}
	for _, l := range p.lines(t, 2) {
		if l.text("outcome") != "upstream_error" {
			t.Errorf("the line says %v", l)
		}
	}
}
