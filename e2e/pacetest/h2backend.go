package pacetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// H2Backend is a scripted HTTP/2 server on a raw listener. It records every request before it responds, and sends any
// frames in any order. All methods are safe for concurrent use.
type H2Backend struct {
	t         testing.TB
	listener  net.Listener
	tls       *tls.Config // nil: it speaks no TLS
	settings  []http2.Setting
	behaviour func(*H2Exchange)

	mu       sync.Mutex
	requests []*H2Stream // guarded by mu
	accepted int         // guarded by mu
	open     int         // guarded by mu
	holds    bool        // gives no more window; guarded by mu
}

// H2Stream is a request, as an H2Backend received it.
type H2Stream struct {
	Conn, Nth int // number of its connection, and its number on that connection, from 1
	Stream    uint32
	Method    string
	Target    string
	Scheme    string
	Authority string
	Header    http.Header
	Names     []string // of its fields, as they came
	Body      string   // only of what Requests returns
	Trailer   http.Header
	Ended     bool          // pace ended the stream
	Reset     bool          // pace reset it, with
	Code      http2.ErrCode // this code
	TLS       *tls.ConnectionState

	body []byte // what has come
}

// H2Exchange is a request and its response in the hands of a behaviour. For each there is one goroutine.
type H2Exchange struct {
	*H2Stream
	backend *H2Backend
	conn    *h2Conn
	changed *sync.Cond // something of the request has come
}

// NewH2Backend starts a backend that serves every request with behaviour, and stops it when t ends. over may be nil: it
// speaks no TLS.
func NewH2Backend(t testing.TB, over *tls.Config, behaviour func(*H2Exchange), settings ...http2.Setting) *H2Backend {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &H2Backend{t: t, listener: listener, tls: over, settings: settings, behaviour: behaviour}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			b.mu.Lock()
			b.accepted++
			b.open++
			n := b.accepted
			b.mu.Unlock()
			go b.serve(c, n)
		}
	}()
	return b
}

// Address returns its host:port.
func (b *H2Backend) Address() string { return b.listener.Addr().String() }

// Port returns its port.
func (b *H2Backend) Port() int { return b.listener.Addr().(*net.TCPAddr).Port }

// URL is how a configuration names it.
func (b *H2Backend) URL() string {
	if b.tls != nil {
		return "h2://" + b.Address()
	}
	return "h2c://" + b.Address()
}

// Name is what pace calls it in X-Backend.
func (b *H2Backend) Name() string { return "backend_" + strings.Replace(b.Address(), ":", "_", 1) }

// Accepted counts the connections that were ever made.
func (b *H2Backend) Accepted() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.accepted
}

// Open counts the connections that are open now.
func (b *H2Backend) Open() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open
}

// HoldWindow lets no more of any body come than the window has room for.
func (b *H2Backend) HoldWindow() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.holds = true
}

// Requests returns what came so far, in order of arrival.
func (b *H2Backend) Requests() []H2Stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	got := make([]H2Stream, len(b.requests))
	for i, r := range b.requests {
		got[i] = r.copied()
	}
	return got
}

// With returns those requests that came so far whose field has this value.
func (b *H2Backend) With(field, value string) (got []H2Stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.requests {
		if slices.Equal(r.Header[field], []string{value}) {
			got = append(got, r.copied())
		}
	}
	return got
}

// copied returns r as it is now, with its Body. The backend's mu is locked.
func (r *H2Stream) copied() H2Stream {
	now := *r
	now.Body, now.body = string(r.body), nil
	return now
}

// Forget drops what came so far.
func (b *H2Backend) Forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.requests = nil
}

// Got returns the requests to target that came so far.
func (b *H2Backend) Got(target string) (got []H2Stream) {
	for _, r := range b.Requests() {
		if r.Target == target {
			got = append(got, r)
		}
	}
	return got
}

// WantReset waits until pace has reset the only request to target, and compares the code.
func (b *H2Backend) WantReset(target string, code http2.ErrCode) {
	b.t.Helper()
	Eventually(b.t, func() error {
		got := b.Got(target)
		if len(got) != 1 || !got[0].Reset || got[0].Code != code {
			return fmt.Errorf("of %s the backend saw %+v, want a reset with %v", target, got, code)
		}
		return nil
	})
}

// h2Conn is one connection of an H2Backend.
type h2Conn struct {
	net.Conn
	mu    sync.Mutex // guards what follows: who writes
	fr    *http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func (b *H2Backend) serve(c net.Conn, number int) {
	defer func() {
		c.Close()
		b.mu.Lock()
		b.open--
		b.mu.Unlock()
	}()
	var state *tls.ConnectionState
	if b.tls != nil {
		secure := tls.Server(c, b.tls)
		if secure.Handshake() != nil {
			return
		}
		s := secure.ConnectionState()
		c, state = secure, &s
	}
	r := bufio.NewReader(c)
	if _, err := io.CopyN(io.Discard, r, int64(len(http2.ClientPreface))); err != nil {
		return
	}
	h := &h2Conn{Conn: c, fr: http2.NewFramer(c, r)}
	h.fr.AllowIllegalWrites = true
	h.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	h.enc = hpack.NewEncoder(&h.block)
	h.write(func(f *http2.Framer) { f.WriteSettings(b.settings...) })
	streams := map[uint32]*H2Exchange{}
	nth := 0
	for {
		f, err := h.fr.ReadFrame()
		if err != nil {
			for _, x := range streams {
				x.note(func() { x.Reset = true })
			}
			return
		}
		switch f := f.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				h.write(func(f *http2.Framer) { f.WriteSettingsAck() })
			}
			continue
		case *http2.PingFrame:
			if !f.IsAck() {
				data := f.Data
				h.write(func(f *http2.Framer) { f.WritePing(true, data) })
			}
			continue
		}
		x := streams[f.Header().StreamID]
		if headers, ok := f.(*http2.MetaHeadersFrame); ok && x == nil {
			nth++
			x = b.begin(h, headers, number, nth, state)
			streams[headers.StreamID] = x
			go b.behaviour(x)
			continue
		}
		if x != nil {
			x.take(f)
		}
	}
}

// begin records a request.
func (b *H2Backend) begin(h *h2Conn, f *http2.MetaHeadersFrame, conn, nth int, state *tls.ConnectionState) *H2Exchange {
	r := &H2Stream{
		Conn: conn, Nth: nth, Stream: f.StreamID, Method: f.PseudoValue("method"), Target: f.PseudoValue("path"),
		Scheme: f.PseudoValue("scheme"), Authority: f.PseudoValue("authority"), Header: http.Header{}, Ended: f.StreamEnded(), TLS: state,
	}
	for _, field := range f.RegularFields() {
		r.Header.Add(field.Name, field.Value)
		r.Names = append(r.Names, field.Name)
	}
	b.mu.Lock()
	b.requests = append(b.requests, r)
	b.mu.Unlock()
	return &H2Exchange{H2Stream: r, backend: b, conn: h, changed: sync.NewCond(&b.mu)}
}

// take notes a frame of the request. It gives all of the window back at once, unless that is held.
func (x *H2Exchange) take(f http2.Frame) {
	switch f := f.(type) {
	case *http2.DataFrame:
		holds := false
		x.note(func() { x.body, x.Ended, holds = append(x.body, f.Data()...), f.StreamEnded(), x.backend.holds })
		if n := uint32(f.Length); n > 0 && !holds {
			x.conn.write(func(f *http2.Framer) {
				f.WriteWindowUpdate(0, n)
				f.WriteWindowUpdate(x.Stream, n)
			})
		}
	case *http2.MetaHeadersFrame:
		x.note(func() {
			x.Trailer, x.Ended = http.Header{}, f.StreamEnded()
			for _, field := range f.RegularFields() {
				x.Trailer.Add(field.Name, field.Value)
			}
		})
	case *http2.RSTStreamFrame:
		x.note(func() { x.Reset, x.Code = true, f.ErrCode })
	}
}

func (x *H2Exchange) note(change func()) {
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	change()
	x.changed.Broadcast()
}

// AwaitEnd waits until pace has ended or reset the stream.
func (x *H2Exchange) AwaitEnd() {
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	for !x.Ended && !x.Reset {
		x.changed.Wait()
	}
}

// AwaitReset waits until pace has reset the stream, or lost the connection.
func (x *H2Exchange) AwaitReset() {
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	for !x.Reset {
		x.changed.Wait()
	}
}

// AwaitBody waits until so many bytes of the body have come, or the stream has ended.
func (x *H2Exchange) AwaitBody(n int) {
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	for len(x.body) < n && !x.Ended && !x.Reset {
		x.changed.Wait()
	}
}

func (c *h2Conn) write(f func(*http2.Framer)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(c.fr)
}

// SendHeader sends a block of fields, in the order name, value, name, value. end ends the stream.
func (x *H2Exchange) SendHeader(end bool, fields ...string) {
	c := x.conn
	c.write(func(f *http2.Framer) {
		c.block.Reset()
		for i := 0; i < len(fields); i += 2 {
			c.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: x.Stream, BlockFragment: c.block.Bytes(), EndStream: end, EndHeaders: true})
	})
}

// SendData sends a piece of the body. end ends the stream.
func (x *H2Exchange) SendData(end bool, piece string) {
	x.conn.write(func(f *http2.Framer) { f.WriteData(x.Stream, end, []byte(piece)) })
}

// SendReset resets the stream.
func (x *H2Exchange) SendReset(code http2.ErrCode) {
	x.conn.write(func(f *http2.Framer) { f.WriteRSTStream(x.Stream, code) })
}

// GoAway sends a GOAWAY.
func (x *H2Exchange) GoAway(last uint32, code http2.ErrCode) {
	x.conn.write(func(f *http2.Framer) { f.WriteGoAway(last, code, []byte("debug\x1b[31m data")) })
}

// Frame sends any frame.
func (x *H2Exchange) Frame(kind http2.FrameType, flags http2.Flags, payload string) {
	x.conn.write(func(f *http2.Framer) { f.WriteRawFrame(kind, flags, x.Stream, []byte(payload)) })
}

// CloseConn ends the connection.
func (x *H2Exchange) CloseConn() { x.conn.Close() }

// H2Fine responds with 200 and "fine", after the whole request.
func H2Fine(x *H2Exchange) {
	x.AwaitEnd()
	x.SendHeader(false, ":status", "200", "content-length", "4")
	x.SendData(true, "fine")
}

// H2Refuse refuses the stream.
func H2Refuse(x *H2Exchange) { x.SendReset(http2.ErrCodeRefusedStream) }

// H2OnceThen serves the first request with one behaviour and the others with another.
func H2OnceThen(first, then func(*H2Exchange)) func(*H2Exchange) {
	var once sync.Once
	return func(x *H2Exchange) {
		serve := then
		once.Do(func() { serve = first })
		serve(x)
	}
}
