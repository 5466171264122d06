package proxy

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"

	"pace/proxy/front"
	"pace/proxy/front/socket"
)

// A client that leaves over HTTP/2 may have got bytes of which net/http reports that they did not go out: it has seen
// the client's reset before the end of its own write. The access line has what the kernel took, to the byte, and the
// backend is let go of before that is known.
func TestBytesOut_HTTP2CountsAWriteDuringWhichTheClientLeft(t *testing.T) {
	t.Parallel()
	const size = 64 << 10
	left := make(chan struct{})
	p := start(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.Write(make([]byte, size))
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(left)
	}))
	l, err := front.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	held := make(chan int, 1)
	go p.server.Serve(holdingListener{l.(socket.Listener), size / 2, held, left}, front.ListenerSettings{})
	p.Addr = l.Addr().String()

	c, r := p.dial(t)
	io.WriteString(c, preface)
	w := newH2Wire(c)
	w.Write(frame(4, 0, 0, []byte{0, 4, 0, 1, 0, 0})) // a window of 64 KiB for each stream
	w.Write(frame(8, 0, 0, []byte{0, 1, 0, 0}))       // and more for the connection
	w.get("/")
	raw := make([]byte, <-held)
	if _, err := io.ReadFull(r, raw); err != nil {
		t.Fatal(err)
	}
	w.Write(frame(3, 0, 1, []byte{0, 0, 0, 8})) // CANCEL
	got := bodyBytes(raw)
	if l := p.line(t); l["outcome"] != "client_aborted" || l.number("bytes_out") != float64(got) || got == 0 {
		t.Errorf("the client got %d bytes of the body; the line has %v, %v", got, l["bytes_out"], l["outcome"])
	}
}

// net/http accepts what handlers write also when it has given up the connection because of a fault, and sends none of it.
func TestBytesOut_HTTP2CountsNothingAfterTheEndOfTheConnection(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	p := start(t, nil, origin(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "before")
		http.NewResponseController(w).Flush()
		<-over
		io.WriteString(w, "after")
	}))
	c, r := p.dial(t)
	io.WriteString(c, preface)
	w := newH2Wire(c)
	w.get("/")
	var raw []byte
	for bodyBytes(raw) < len("before") {
		b := make([]byte, 1<<10)
		n, err := r.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		raw = append(raw, b[:n]...)
	}
	w.Write(frame(0, 0, 0, []byte("x"))) // DATA of no stream
	for kind := byte(0); kind != 7; {    // GOAWAY
		head := make([]byte, 9)
		if _, err := io.ReadFull(r, head); err != nil {
			t.Fatal(err)
		}
		kind = head[3]
		r.Discard(int(binary.BigEndian.Uint32(head) >> 8))
	}
	close(over)
	if l := p.line(t); l.number("bytes_out") != float64(len("before")) {
		t.Errorf("the line has %v bytes, %v; the client got %d", l["bytes_out"], l["outcome"], len("before"))
	}
}

// bodyBytes returns how many bytes of a body are in the frames, of which the last one may be cut short.
func bodyBytes(raw []byte) (n int) {
	for len(raw) > 9 {
		payload := min(int(binary.BigEndian.Uint32(raw)>>8), len(raw)-9)
		if raw[3] == 0 {
			n += payload
		}
		raw = raw[9+payload:]
	}
	return n
}

// holdingListener accepts connections that hold the end of a write as soon as the kernel took so many bytes.
type holdingListener struct {
	socket.Listener
	after int
	held  chan<- int // gets how many it took
	until <-chan struct{}
}

func (l holdingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &heldConn{Conn: c.(socket.Conn), how: l}, nil
}

type heldConn struct {
	socket.Conn
	how  holdingListener
	took int
}

func (c *heldConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	before := c.took
	if c.took += n; before < c.how.after && c.took >= c.how.after {
		c.how.held <- c.took
		<-c.how.until
	}
	return n, err
}
