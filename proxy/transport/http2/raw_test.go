package http2

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/proxy/transport/dial"
)

// rawConn is a connection of a backend that sends any frames.
type rawConn struct {
	*http2.Framer
	net.Conn
	mu     sync.Mutex // for who responds on goroutines of its own
	block  bytes.Buffer
	pinged [8]byte // by the last PING that was not sent back
	enc    *hpack.Encoder
}

// respond sends a header on a stream.
func (c *rawConn) respond(stream uint32, end bool, fields ...string) {
	c.block.Reset()
	for i := 0; i < len(fields); i += 2 {
		c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true})
}

// ok responds with 200 and a body.
func (c *rawConn) ok(stream uint32, body string) {
	c.respond(stream, false, ":status", "200")
	c.WriteData(stream, true, []byte(body))
}

// okAfter responds when release is closed, and does not wait for that.
func (c *rawConn) okAfter(release chan struct{}, stream uint32) {
	go func() {
		<-release
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ok(stream, "hello")
	}()
}

// raw is a backend that counts the requests on the wire.
type raw struct {
	dial.Address
	requests    atomic.Int32
	connections atomic.Int32

	each       func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool
	keepsPings bool // does not send them back
	pings      atomic.Int32
}

// serveRaw calls each for each request, which is the nth on its connection, from 1. It reads on until each returns false;
// then the connection is closed. settings are sent first.
func serveRaw(t testing.TB, settings []http2.Setting, each func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool) *raw {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	b := &raw{Address: dial.Address{Network: "tcp", Addr: l.Addr().String()}, each: each}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			b.connections.Add(1)
			t.Cleanup(func() { nc.Close() })
			go b.serve(nc, settings)
		}
	}()
	return b
}

func (b *raw) serve(nc net.Conn, settings []http2.Setting) {
	defer nc.Close()
	r := bufio.NewReader(nc)
	if _, err := io.CopyN(io.Discard, r, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	c := &rawConn{Framer: http2.NewFramer(nc, r), Conn: nc}
	c.AllowIllegalWrites = true
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.enc = hpack.NewEncoder(&c.block)
	c.WriteSettings(settings...)
	for n := 0; ; {
		f, err := c.ReadFrame()
		if err != nil {
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				c.mu.Lock()
				c.WriteSettingsAck()
				c.mu.Unlock()
			}
		case *http2.PingFrame:
			if b.pings.Add(1); b.keepsPings {
				c.mu.Lock()
				c.pinged = f.Data
				c.mu.Unlock()
			} else if !f.IsAck() {
				c.mu.Lock()
				c.WritePing(true, f.Data)
				c.mu.Unlock()
			}
		case *http2.MetaHeadersFrame:
			if f.PseudoValue("method") == "" {
				continue // a trailer
			}
			b.requests.Add(1)
			if n++; !b.each(c, f, n) {
				return
			}
		}
	}
}

// wantRequests waits a moment, in which a repetition would come, and compares what the backend has counted.
func (b *raw) wantRequests(t *testing.T, want int32) {
	t.Helper()
	time.Sleep(30 * time.Millisecond)
	if got := b.requests.Load(); got != want {
		t.Errorf("the backend got %d requests, want %d", got, want)
	}
}
