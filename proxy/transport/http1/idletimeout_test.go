package http1

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"pace/proxy/transport"
)

// A 408 that comes on a reused connection says that the connection was given up, not the request; but it is
// a response where the backend may have chosen it for this request.
func TestDo_A408OnAReusedConnection(t *testing.T) {
	const bare, closing = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\nlate"
	body := func() io.Reader { return strings.NewReader("hello") }
	for _, tt := range []struct {
		name, raw string
		req       transport.Request
		first     bool // it comes on a new connection
		lost      bool // want a lost connection, not a response
	}{
		{name: "is no response", raw: closing, req: transport.Request{Method: "GET", Repeatable: true}, lost: true},
		{name: "is none, even if the connection stays", raw: bare, req: transport.Request{Method: "GET", Repeatable: true}, lost: true},
		{name: "is none for a POST either", raw: closing, req: transport.Request{Method: "POST"}, lost: true},
		{name: "is none for a whole body", raw: closing, req: transport.Request{Method: "POST", Body: body(), ContentLength: 5}, lost: true},
		{name: "is none in HTTP/1.0", raw: strings.Replace(closing, "1.1", "1.0", 1), req: transport.Request{Method: "POST"}, lost: true},
		{name: "is the response to a POST, if the connection stays", raw: bare, req: transport.Request{Method: "POST"}},
		{name: "is the response after an interim one", raw: "HTTP/1.1 102 Processing\r\n\r\n" + bare, req: transport.Request{Method: "GET", Repeatable: true}},
		{name: "is the response on a new connection", raw: closing, req: transport.Request{Method: "GET", Repeatable: true}, first: true},
		{name: "another status is the response", raw: "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nlate", req: transport.Request{Method: "GET", Repeatable: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			texts := []string{okHello, tt.raw}
			if tt.first {
				texts = texts[1:]
			}
			p := script(t, Options{}, respond(texts...))
			if !tt.first {
				fetch(t, p, get("/"))
			}
			tt.req.Target, tt.req.Host = "/", "h"
			var resp Response
			err := p.Do(t.Context(), &tt.req, &resp)
			defer resp.Close()
			if !tt.lost {
				if err != nil || resp.Status != 408 && resp.Status != 400 {
					t.Errorf("got %v, status %d; want the backend's response", err, resp.Status)
				}
				return
			}
			if e := wantKind(t, err, transport.Reset); !e.Reused || e.Responded || e.BytesSent == 0 || p.Idle() != 0 {
				t.Errorf("got %v (reused %v, responded %v, %d bytes sent) and %d idle, want a reused connection that died unanswered", e, e.Reused, e.Responded, e.BytesSent, p.Idle())
			}
		})
	}
}

// A backend that waits for the rest of a body may say so, whatever the connection did before.
func TestDo_A408WithinTheBodyIsTheResponse(t *testing.T) {
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		respond(okHello)(c, r)
		http.ReadRequest(r)
		io.ReadFull(r, make([]byte, 5))
		io.WriteString(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
		io.Copy(io.Discard, r)
	})
	fetch(t, p, get("/"))
	in, out := io.Pipe()
	go io.WriteString(out, "hello")
	var resp Response
	req := &transport.Request{Method: "POST", Target: "/", Host: "h", Body: in, ContentLength: 10, StopBody: func() { out.Close() }}
	if err := p.Do(t.Context(), req, &resp); err != nil || resp.Status != 408 || !resp.Reused {
		t.Errorf("got %v, status %d, reused %v; want the 408", err, resp.Status, resp.Reused)
	}
	resp.Close()
}
