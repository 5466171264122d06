package contract

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/e2e/pacetest"
)

// recorded counts the records of TLS with content that come in.
type recorded struct {
	net.Listener
	records atomic.Int64
}

func (l *recorded) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return &recordedConn{Conn: c, records: &l.records}, err
}

type recordedConn struct {
	net.Conn
	records *atomic.Int64
	head    []byte // of the present record
	left    int    // bytes of it that are to come
}

func (c *recordedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if c.left > 0 {
			skip := min(c.left, len(rest))
			rest, c.left = rest[skip:], c.left-skip
			continue
		}
		take := min(5-len(c.head), len(rest))
		c.head, rest = append(c.head, rest[:take]...), rest[take:]
		if len(c.head) == 5 {
			const applicationData = 23
			if c.head[0] == applicationData {
				c.records.Add(1)
			}
			c.left, c.head = int(c.head[3])<<8|int(c.head[4]), nil
		}
	}
	return n, err
}

// A request whose body has come with its header goes to the backend in one write, so in one record. net/http writes the
// header, the body and its end apart, which would be three.
func TestH2Backend_OneRecordForARequest(t *testing.T) {
	t.Parallel()
	o := h2Side{pacetest.NewCA(t)}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	l := &recorded{Listener: s.Listener}
	s.Listener, s.EnableHTTP2, s.TLS = l, true, o.tls("h2")
	s.StartTLS()
	t.Cleanup(s.Close)
	p := pacetest.Start(t, o.config(serverOf{"h2://" + l.Addr().String()}))

	wire := p.H2Wire()
	stream, block := uint32(1), new(bytes.Buffer)
	fields := hpack.NewEncoder(block)
	for name, send := range map[string]func() string{
		"HTTP/1.1": func() string {
			return pacetest.Do(http.DefaultClient, p.Request("POST", "/", "hello")).Body
		},
		"gRPC": func() string {
			defer func() { stream += 2 }()
			block.Reset()
			all := pacetest.H2Request("POST", "/", "content-type", "application/grpc", "te", "trailers")
			for i := 0; i < len(all); i += 2 {
				fields.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]})
			}
			var both bytes.Buffer
			f := http2.NewFramer(&both, nil)
			f.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: block.Bytes(), EndHeaders: true})
			f.WriteData(stream, true, []byte("hello"))
			both.WriteTo(wire.Conn)
			return wire.Response(stream).Body
		},
	} {
		send() // the connection is there
		const requests = 50
		before := l.records.Load()
		for range requests {
			if got := send(); got != "hello" {
				t.Fatalf("%s: the backend got %q", name, got)
			}
		}
		if got := l.records.Load() - before; got < requests || got > requests*2 { // a machine that is busy may separate some
			t.Errorf("%s: %d requests came in %d records, want one for each", name, requests, got)
		}
	}
}
