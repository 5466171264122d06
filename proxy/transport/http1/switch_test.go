package http1

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/proxy/transport"
)

const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"

// A switch of protocols takes place after the body, whenever the backend agrees to it.
func TestDo_SwitchesAfterTheWholeBody(t *testing.T) {
	long := strings.Repeat("0123456789", 100_000)
	for _, tt := range []struct {
		name   string
		body   string
		length int64 // -1: chunked
		early  bool  // the 101 comes before the body is read
		expect bool
	}{
		{"a short body", "{}", 2, false, false},
		{"a short body, and a 101 before it was read", "{}", 2, true, false},
		{"a chunked body", "{}", -1, false, false},
		{"a long body, and a 101 before it was read", long, int64(len(long)), true, false},
		{"a long chunked body, and a 101 before it was read", long, -1, true, false},
		{"a body that waits for 100, and a 101 instead", "{}", 2, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				req, err := http.ReadRequest(r)
				if err != nil || req.Header.Get("Upgrade") != "tcp" || req.Header.Get("Connection") != "Upgrade" {
					return
				}
				if tt.early {
					io.WriteString(c, switching)
				}
				body, _ := io.ReadAll(req.Body)
				if !tt.early {
					io.WriteString(c, switching)
				}
				c.Write(body)
				io.Copy(c, r)
			})
			req := &transport.Request{Method: "POST", Target: "/", Host: "h", Upgrade: "tcp", Body: strings.NewReader(tt.body), ContentLength: tt.length, Expect: tt.expect}
			var resp Response
			if err := p.Do(t.Context(), req, &resp); err != nil || resp.Status != 101 {
				t.Fatalf("%v, status %d", err, resp.Status)
			}
			c, rest := resp.Hijack()
			defer c.Close()
			c.SetDeadline(time.Now().Add(10 * time.Second))
			io.WriteString(c, "echo")
			want := tt.body + "echo"
			got := make([]byte, len(want)-len(rest))
			if _, err := io.ReadFull(c, got); err != nil || string(rest)+string(got) != want {
				t.Errorf("%d bytes came back (%v), want the body and what followed it", len(rest)+len(got), err)
			}
		})
	}
}

// A body that goes wrong after the 101 is whose fault it always is.
func TestDo_NoSwitchWithinABody(t *testing.T) {
	for _, tt := range []struct {
		name string
		kind transport.Kind
		fail func(out *io.PipeWriter, cancel func(), c net.Conn)
	}{
		{"the body breaks", transport.RequestBody, func(out *io.PipeWriter, _ func(), _ net.Conn) { out.CloseWithError(io.ErrUnexpectedEOF) }},
		{"the body is too short", transport.RequestBody, func(out *io.PipeWriter, _ func(), _ net.Conn) { out.Close() }},
		{"the client leaves", transport.Canceled, func(_ *io.PipeWriter, cancel func(), _ net.Conn) { cancel() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, out := io.Pipe()
			ctx, cancel := context.WithCancel(t.Context())
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
				http.ReadRequest(r)
				io.ReadFull(r, make([]byte, 4))
				io.WriteString(c, switching)
				tt.fail(out, cancel, c)
				io.Copy(io.Discard, r)
			})
			go io.WriteString(out, "half")
			req := &transport.Request{Method: "POST", Target: "/", Host: "h", Upgrade: "tcp", Body: in, ContentLength: 8, StopBody: func() { out.Close() }}
			var resp Response
			wantKind(t, p.Do(ctx, req, &resp), tt.kind)
		})
	}
}

// FuzzAccepts holds the list of protocols that a backend switches to against those that were asked for: a
// switch is accepted if each of its words was asked for, and h2c was not.
func FuzzAccepts(f *testing.F) {
	f.Add("websocket", "WebSocket")
	f.Add("a, b ,c", "c,A")
	f.Add("a,,b", ",")
	f.Add("h2c, a", "a")
	f.Fuzz(func(t *testing.T, asked, got string) {
		words := func(list string) (all []string) {
			for w := range strings.SplitSeq(list, ",") {
				all = append(all, strings.Trim(w, " \t"))
			}
			return all
		}
		want := got != ""
		for _, w := range words(got) {
			has := func(is string) bool { return strings.EqualFold(is, w) }
			want = want && w != "" && slices.ContainsFunc(words(asked), has)
		}
		want = want && !slices.ContainsFunc(words(asked), func(w string) bool { return strings.EqualFold(w, "h2c") })
		if ok := accepts(&transport.Request{Upgrade: asked}, got); ok != want {
			t.Errorf("asked for %q, a switch to %q is accepted: %v, want %v", asked, got, ok, want)
		}
	})
}
