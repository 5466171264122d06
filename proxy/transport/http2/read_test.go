package http2

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// encoded returns a header block.
func encoded(fields ...string) []byte {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return block.Bytes()
}

// What the backend must not send ends the connection, or the stream if only that is concerned. The backend learns why.
func TestConn_WhatTheBackendMustNotSend(t *testing.T) {
	raw := func(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) func(*rawConn) {
		return func(c *rawConn) { c.WriteRawFrame(kind, flags, stream, []byte(payload)) }
	}
	header := func(end bool, fields ...string) func(*rawConn) {
		return func(c *rawConn) { c.respond(3, end, fields...) }
	}
	for _, tt := range []struct {
		name string
		send func(*rawConn)
		code http2.ErrCode
		ends bool // the connection
	}{
		{"data of a stream that there never was", raw(http2.FrameData, 0, 5, "x"), http2.ErrCodeProtocol, true},
		{"data of a stream of its own", raw(http2.FrameData, 0, 2, "x"), http2.ErrCodeProtocol, true},
		{"data of no stream", raw(http2.FrameData, 0, 0, "x"), http2.ErrCodeProtocol, true},
		{"a header on a stream that there never was", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 5, string(encoded(":status", "200"))), http2.ErrCodeProtocol, true},
		{"a reset of a stream that there never was", raw(http2.FrameRSTStream, 0, 5, "\x00\x00\x00\x00"), http2.ErrCodeProtocol, true},
		{"a window of a stream that there never was", raw(http2.FrameWindowUpdate, 0, 5, "\x00\x00\x00\x01"), http2.ErrCodeProtocol, true},
		{"a window that is too large", raw(http2.FrameWindowUpdate, 0, 0, "\x7f\xff\xff\xff"), http2.ErrCodeFlowControl, true},
		{"a window of the stream that is too large", raw(http2.FrameWindowUpdate, 0, 3, "\x7f\xff\xff\xff"), http2.ErrCodeFlowControl, false},
		{"a window that grows by nothing", raw(http2.FrameWindowUpdate, 0, 3, "\x00\x00\x00\x00"), http2.ErrCodeProtocol, true},
		{"a push", raw(http2.FramePushPromise, http2.FlagPushPromiseEndHeaders, 3, "\x00\x00\x00\x02"+string(encoded(":path", "/"))), http2.ErrCodeProtocol, true},
		{"a frame that is too large", raw(http2.FramePing, 0, 0, strings.Repeat("x", 20000)), http2.ErrCodeFrameSize, true},
		{"a PING that is too short", raw(http2.FramePing, 0, 0, "x"), http2.ErrCodeFrameSize, true},
		{"a first window that is too large", raw(http2.FrameSettings, 0, 0, "\x00\x04\xff\xff\xff\xff"), http2.ErrCodeFlowControl, true},
		{"frames that are too small", raw(http2.FrameSettings, 0, 0, "\x00\x05\x00\x00\x00\x01"), http2.ErrCodeProtocol, true},
		{"a header block that cannot be decoded", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, "\xff\xff\xff\xff"), http2.ErrCodeCompression, true},
		{"a header block that is cut", raw(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 3, "\x00\x05ab"), http2.ErrCodeCompression, true},
		{"a frame within a header block", func(c *rawConn) {
			raw(http2.FrameHeaders, 0, 3, string(encoded(":status", "200")))(c)
			raw(http2.FramePing, 0, 0, "12345678")(c)
		}, http2.ErrCodeProtocol, true},
		{"a continuation of nothing", raw(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 3, ""), http2.ErrCodeProtocol, true},
		{"padding that is longer than the frame", raw(http2.FrameData, http2.FlagDataPadded, 3, "\x05x"), http2.ErrCodeProtocol, true},
		{"a body without a header", raw(http2.FrameData, 0, 3, "x"), http2.ErrCodeProtocol, false},
		{"two statuses", header(false, ":status", "200", ":status", "200"), http2.ErrCodeProtocol, false},
		{"a status after a field", header(false, "a", "b", ":status", "200"), http2.ErrCodeProtocol, false},
		{"another pseudo-header", header(false, ":status", "200", ":path", "/"), http2.ErrCodeProtocol, false},
		{"a status of letters", header(false, ":status", "2oo"), http2.ErrCodeProtocol, false},
		{"a status below 100", header(false, ":status", "099"), http2.ErrCodeProtocol, false},
		{"a name in upper case", header(false, ":status", "200", "A", "b"), http2.ErrCodeProtocol, false},
		{"a name that is none", header(false, ":status", "200", "a b", "c"), http2.ErrCodeProtocol, false},
		{"a value with a line break", header(false, ":status", "200", "a", "b\r\nc: d"), http2.ErrCodeProtocol, false},
		{"an interim response that ends the stream", header(true, ":status", "103"), http2.ErrCodeProtocol, false},
		{"a length that is none", header(false, ":status", "200", "content-length", "+1"), http2.ErrCodeProtocol, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan string, 10)
			b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
				if n != 2 {
					c.ok(f.StreamID, "hello")
					return true
				}
				tt.send(c)
				got <- c.end()
				return true
			})
			p := pool(t, b.Address, Options{})
			fetch(t, p, get("/")) // the connection is a good one
			e := failure(t, p, get("/"))
			if e.Kind != transport.Invalid || e.BytesSent == 0 || !e.Reused {
				t.Errorf("got %+v", e)
			}
			want := fmt.Sprint("RST_STREAM ", tt.code)
			if tt.ends {
				want = fmt.Sprint("GOAWAY ", tt.code)
			}
			if said := <-got; said != want {
				t.Errorf("the backend got %s, want %s", said, want)
			}
			if tt.ends {
				eventually(t, "the connection is closed", func() bool { return p.Open() == 0 })
			} else if h, body := fetch(t, p, get("/")); h.Status != 200 || body != "hello" || !h.Reused {
				t.Errorf("then %+v, %q", h, body)
			}
		})
	}
}

// end returns the frame that ends the stream, or the connection.
func (c *rawConn) end() string {
	for {
		switch f, err := c.ReadFrame(); f := f.(type) {
		case *http2.RSTStreamFrame:
			return fmt.Sprint("RST_STREAM ", f.ErrCode)
		case *http2.GoAwayFrame:
			return fmt.Sprint("GOAWAY ", f.ErrCode)
		default:
			if err != nil {
				return err.Error()
			}
		}
	}
}

// A response may come in any frames that RFC 9113 allows.
func TestDo_ReadsEveryFormOfAResponse(t *testing.T) {
	for name, send := range map[string]func(c *rawConn, id uint32){
		"padding": func(c *rawConn, id uint32) {
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encoded(":status", "200", "a", "b"), EndHeaders: true, PadLength: 17})
			c.WriteDataPadded(id, false, []byte("he"), make([]byte, 255))
			c.WriteDataPadded(id, true, []byte("llo"), nil)
		},
		"priority": func(c *rawConn, id uint32) {
			c.WritePriority(id, http2.PriorityParam{StreamDep: 0, Weight: 3})
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: encoded(":status", "200", "a", "b"), EndHeaders: true, Priority: http2.PriorityParam{StreamDep: 7, Weight: 9}})
			c.WriteData(id, true, []byte("hello"))
		},
		"a header block in pieces": func(c *rawConn, id uint32) {
			block := encoded(":status", "200", "a", "b")
			c.WriteHeaders(http2.HeadersFrameParam{StreamID: id})
			for i := range block {
				c.WriteContinuation(id, false, block[i:i+1])
			}
			c.WriteContinuation(id, true, nil)
			c.WriteData(id, true, []byte("hello"))
		},
		"frames of other types": func(c *rawConn, id uint32) {
			c.WriteRawFrame(0xfe, 0xff, id, []byte("what?"))
			c.WriteRawFrame(0xfd, 0xff, 0, nil)
			c.respond(id, false, ":status", "200", "a", "b")
			c.WriteRawFrame(0xfe, 0xff, id, []byte("what?"))
			c.WriteData(id, true, []byte("hello"))
		},
		"empty pieces": func(c *rawConn, id uint32) {
			c.respond(id, false, ":status", "200", "a", "b", "content-length", "5")
			for _, piece := range []string{"", "he", "", "llo", ""} {
				c.WriteData(id, false, []byte(piece))
			}
			c.WriteData(id, true, nil)
		},
		"an end of its own, by a trailer": func(c *rawConn, id uint32) {
			c.respond(id, false, ":status", "200", "a", "b")
			c.WriteData(id, false, []byte("hello"))
			c.respond(id, true, "grpc-status", "0")
		},
		"a reset with NO_ERROR after the end": func(c *rawConn, id uint32) {
			c.respond(id, false, ":status", "200", "a", "b")
			c.WriteData(id, true, []byte("hello"))
			c.WriteRSTStream(id, http2.ErrCodeNo)
		},
		"a table that is larger and smaller": func(c *rawConn, id uint32) {
			c.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, id, append([]byte{0x20, 0x3f, 0xe1, 0x1f}, encoded(":status", "200", "a", "b")...))
			c.WriteData(id, true, []byte("hello"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
				send(c, f.StreamID)
				return true
			})
			p := pool(t, b.Address, Options{})
			for range 3 {
				h, body := fetch(t, p, get("/"))
				if h.Status != 200 || body != "hello" || len(h.Fields) < 1 || h.Fields[0] != (transport.Field{Name: "A", Value: "b"}) {
					t.Errorf("%+v, %q", h, body)
				}
			}
			if b.connections.Load() != 1 {
				t.Errorf("%d connections", b.connections.Load())
			}
		})
	}
}

// A backend that makes its table smaller must be told so in the next header.
func TestDo_ABackendWithoutATable(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingHeaderTableSize, Val: 0}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.ok(f.StreamID, "hello")
		return true
	})
	p, conn := notingPool(t, b.Address, Options{})
	for range 2 {
		fetch(t, p, get("/"))
	}
	if got := conn().first; !slices.Equal(got, []byte{0x20, 0x20}) {
		t.Errorf("the headers began with %x", got)
	}
}

// Some responses have no body, whatever their header says.
func TestDo_ResponsesWithoutABody(t *testing.T) {
	for _, tt := range []struct{ method, status string }{{"HEAD", "200"}, {"GET", "204"}, {"GET", "304"}} {
		b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
			c.respond(f.StreamID, true, ":status", tt.status, "content-length", "5")
			return true
		})
		p := pool(t, b.Address, Options{})
		for range 2 {
			req := get("/")
			req.Method = tt.method
			if h, body := fetch(t, p, req); fmt.Sprint(h.Status) != tt.status || body != "" || h.ContentLength != 0 {
				t.Errorf("%s: %+v, %q", tt, h, body)
			}
		}
		if p.Open() != 1 {
			t.Errorf("%s: %d connections", tt, p.Open())
		}
	}
}

// A response of any size comes whole, and no more than a window of it before the caller takes some.
func TestNext_TheBackendMaySendAsMuchAsTheCallerTakes(t *testing.T) {
	const size = 5 * streamWindow
	var sent atomic.Int64
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.respond(f.StreamID, false, ":status", "200")
		window, left := streamWindow, size
		for left > 0 {
			for window > 0 && left > 0 {
				n := min(window, left, 10000)
				c.WriteDataPadded(f.StreamID, n == left, bytes.Repeat([]byte("x"), n-6), make([]byte, 5))
				sent.Add(int64(n))
				window, left = window-n, left-n
			}
			f2, err := c.ReadFrame()
			if err != nil {
				return false
			}
			if w, ok := f2.(*http2.WindowUpdateFrame); ok && w.StreamID == f.StreamID {
				window += int(w.Increment)
			}
		}
		return true
	})
	p := pool(t, b.Address, Options{})
	var resp transport.Response
	defer resp.Close()
	if err := p.Do(t.Context(), get("/"), &resp); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first window was sent", func() bool { return sent.Load() == streamWindow })
	taken := int64(0)
	for {
		piece, err := resp.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if strings.Trim(string(piece), "x") != "" {
			t.Fatal("the bytes are others")
		}
		taken += int64(len(piece))
		if ahead := sent.Load() - taken*10000/9994; ahead > streamWindow+20000 {
			t.Fatalf("%d bytes ahead", ahead)
		}
	}
	if frames := sent.Load() / 10000; taken < size-7*frames {
		t.Errorf("%d bytes of %d", taken, size)
	}
}

// A backend that sends more than it may loses the stream.
func TestNext_MoreThanTheWindow(t *testing.T) {
	got := make(chan string, 1)
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.respond(f.StreamID, false, ":status", "200")
		for range streamWindow/10000 + 1 {
			c.WriteData(f.StreamID, false, make([]byte, 10000))
		}
		got <- c.end()
		return true
	})
	p := pool(t, b.Address, Options{})
	var resp transport.Response
	if err := p.Do(t.Context(), get("/"), &resp); err != nil {
		t.Fatal(err)
	}
	x := resp.Exchange.(*exchange)
	eventually(t, "it has failed", func() bool { x.Mu.Lock(); defer x.Mu.Unlock(); return x.Cause != nil })
	body, err := readAll(&resp)
	resp.Close()
	if e, ok := errors.AsType[*transport.Error](err); !ok || e.Kind != transport.Truncated || len(body) > streamWindow {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	if said := <-got; said != "RST_STREAM FLOW_CONTROL_ERROR" {
		t.Errorf("the backend got %s", said)
	}
}

// Streams that were reset take room until the backend knows of it. So clients that leave at once cannot have it work on
// more requests than it allows.
func TestReset_TakesRoomUntilTheBackendKnows(t *testing.T) {
	const limit = 3
	pong := make(chan bool)
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingMaxConcurrentStreams, Val: limit}}, nil)
	b.each = func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		if n == 1 {
			go func() {
				for range pong {
					c.mu.Lock()
					c.WritePing(true, c.pinged)
					c.mu.Unlock()
				}
			}()
		}
		if f.PseudoValue("path") == "/" {
			c.mu.Lock()
			c.ok(f.StreamID, "hello")
			c.mu.Unlock()
		}
		return true
	}
	b.keepsPings = true
	p := pool(t, b.Address, Options{})
	p.Limit(1)
	for i := range int32(limit) {
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			eventually(t, "the request is there", func() bool { return b.requests.Load() == i+1 })
			cancel()
		}()
		var resp transport.Response
		if err := p.Do(ctx, get("/wait"), &resp); err == nil {
			t.Error("there was a response")
		}
	}
	eventually(t, "there is a PING for the first reset", func() bool { return b.pings.Load() == 1 })
	c := p.conns[0]
	if n := c.room(); n != 0 {
		t.Errorf("there is room for %d, although the backend may still work on %d requests", n, limit)
	}
	pong <- true
	eventually(t, "there is room again", func() bool { return c.room() == limit })
	if h, body := fetch(t, p, get("/")); h.Status != 200 || body != "hello" {
		t.Errorf("%d, %q", h.Status, body)
	}
	close(pong)
}

// FuzzConn has a backend send anything after its settings. The exchange must end. What is whole for both pace and net/http
// must be the same, and what pace takes as whole net/http must not call malformed. Frames after it may end its connection
// before it has read the body.
func FuzzConn(f *testing.F) {
	frame := func(write func(f *http2.Framer)) []byte {
		var b bytes.Buffer
		write(http2.NewFramer(&b, nil))
		return b.Bytes()
	}
	f.Add(frame(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoded(":status", "200", "content-length", "5"), EndHeaders: true})
		f.WriteData(1, true, []byte("hello"))
	}))
	f.Add(frame(func(f *http2.Framer) {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoded(":status", "103"), EndHeaders: true})
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoded(":status", "200"), EndHeaders: false})
		f.WriteContinuation(1, true, encoded("a", "b"))
		f.WriteDataPadded(1, false, []byte("hello"), []byte{0, 0})
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: encoded("grpc-status", "0"), EndHeaders: true, EndStream: true})
	}))
	f.Add(frame(func(f *http2.Framer) { f.WriteGoAway(0, 0, nil); f.WriteRSTStream(1, 7) }))
	f.Add(frame(func(f *http2.Framer) {
		f.WriteSettings(http2.Setting{ID: 4, Val: 0})
		f.WriteWindowUpdate(1, 5)
		f.WritePing(false, [8]byte{})
		f.WritePing(true, [8]byte{})
	}))
	f.Fuzz(func(t *testing.T, sent []byte) {
		dial1 := func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer theirs.Close()
				f := http2.NewFramer(theirs, theirs)
				io.CopyN(io.Discard, theirs, int64(len(http2.ClientPreface)))
				go f.WriteSettings()
				for h, err := f.ReadFrame(); err == nil && h.Header().Type != http2.FrameHeaders; {
					h, err = f.ReadFrame()
				}
				go io.Copy(io.Discard, theirs)
				theirs.Write(sent)
			}()
			return ours, nil
		}
		p := NewPool(dial.Address{}, Options{MaxHeaderBytes: 1000, ResponseTimeout: 10 * time.Second, Dial: dial1})
		defer p.Close()
		var resp transport.Response
		err := p.Do(t.Context(), get("/"), &resp)
		body, status, fields := "", resp.Status, ""
		if err == nil {
			body, err = readAll(&resp)
			fields = inOrder(resp.Fields) + inOrder(resp.Trailer)
		}
		resp.Close()
		if err != nil {
			if e, ok := errors.AsType[*transport.Error](err); !ok || e.Err == nil {
				t.Errorf("%v", err)
			}
			return
		}
		said, err := byNetHTTP(dial1)
		if _, ofStream := errors.AsType[http2.StreamError](err); err == nil && said != fmt.Sprint(status, body, fields) || ofStream {
			t.Errorf("got %d %q %s, net/http %q, %v", status, body, fields, said, err)
		}
	})
}

// byNetHTTP returns the response that net/http reads on such a connection.
func byNetHTTP(dials func(context.Context, string, string) (net.Conn, error)) (string, error) {
	tr := &http.Transport{Protocols: new(http.Protocols), DialContext: dials}
	defer tr.CloseIdleConnections()
	tr.Protocols.SetUnencryptedHTTP2(true)
	c, err := tr.NewClientConn(context.Background(), "http", "backend:80")
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, _ := http.NewRequest("GET", "http://backend/", nil)
	resp, err := c.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	return fmt.Sprint(resp.StatusCode, string(body), inOrder(fieldsOf(resp.Header))+inOrder(fieldsOf(resp.Trailer))), nil
}

func fieldsOf(h http.Header) (fields []transport.Field) {
	for name, values := range h {
		for _, v := range values {
			fields = append(fields, transport.Field{Name: name, Value: strings.Trim(v, " \t")})
		}
	}
	return fields
}

// inOrder returns the fields, sorted. net/http hides the field Trailer.
func inOrder(fields []transport.Field) string {
	var lines []string
	for _, f := range fields {
		if f.Name != "Trailer" {
			lines = append(lines, f.Name+": "+f.Value+"\n")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}

// gRPC's servers end a connection on which too many PINGs come (golang/go#70575): the calls of others must not end because
// some clients give up.
func TestReset_GRPCEndsNoConnectionForItsPings(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.UnknownServiceHandler(func(_ any, st grpc.ServerStream) error {
		<-st.Context().Done()
		return st.Context().Err()
	}))
	go s.Serve(l)
	defer s.Stop()
	p := pool(t, dial.Address{Network: "tcp", Addr: l.Addr().String()}, Options{})
	call := func(ctx context.Context) error {
		req := post("\x00\x00\x00\x00\x00")
		req.Target, req.TrailersOK = "/a.B/C", true
		req.Fields = []byte("Content-Type: application/grpc\r\n")
		var resp transport.Response
		defer resp.Close()
		return p.Do(ctx, req, &resp)
	}
	ctx, cancel := context.WithCancel(t.Context())
	long := make(chan error, 1)
	go func() { long <- call(ctx) }()
	eventually(t, "the long call has its connection", func() bool { return carried(p) == 1 })
	for range 10 {
		given, up := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- call(given) }()
		c := func() *conn { p.mu.Lock(); defer p.mu.Unlock(); return p.conns[0] }()
		eventually(t, "there are two", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return len(c.streams) == 2 })
		up()
		<-done
		eventually(t, "the PING, if there is one, has come back", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return !c.resets.asking })
	}
	select {
	case err := <-long:
		t.Errorf("the long call ended: %v", err)
	default:
	}
	cancel()
	if err := <-long; !errors.Is(err, context.Canceled) {
		t.Errorf("the long call ended: %v", err)
	}
}

// The end of the context ends a response that is there faster than it is taken, and an upload that nobody waits for.
func TestContext_EndsWhatNobodyWaitsFor(t *testing.T) {
	p := pool(t, backend(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(200)
		http.NewResponseController(w).Flush()
		for b := make([]byte, 32<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}), Options{})
	for _, uploads := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		req, stopped := get("/"), make(chan struct{})
		if uploads {
			req = post("")
			req.ContentLength = -1
			req.Body = bodyOf(func([]byte) (int, error) { <-stopped; return 0, io.ErrUnexpectedEOF })
			req.StopBody = sync.OnceFunc(func() { close(stopped) })
		}
		var resp transport.Response
		if err := p.Do(ctx, req, &resp); err != nil {
			t.Fatal(err)
		}
		x := resp.Exchange.(*exchange)
		eventually(t, "the window is full", func() bool { x.Mu.Lock(); defer x.Mu.Unlock(); return x.body.window == 0 })
		cancel()
		if uploads {
			<-stopped
		}
		_, err := resp.Next()
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Kind != transport.Canceled {
			t.Errorf("uploads %v: %v", uploads, err)
		}
		resp.Close()
	}
}

// A block of fields that was lost would leave the table of all later ones wrong, and the fields of one response would have
// values of another one.
func TestConn_LosesNoFields(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		if n != 2 {
			c.respond(f.StreamID, true, ":status", "200", "x-a", "alice")
			return true
		}
		c.block.Reset()
		block := encoded(":status", "200", "x-a", "bob")
		c.WriteRawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersPadded, f.StreamID, append([]byte{0xff}, block...))
		return true
	})
	p := pool(t, b.Address, Options{})
	fetch(t, p, get("/"))
	if e := failure(t, p, get("/")); e.Kind != transport.Invalid {
		t.Errorf("%v", e)
	}
	if h, _ := fetch(t, p, get("/")); h.Reused || !slices.Equal(h.Fields, []transport.Field{{Name: "X-A", Value: "alice"}}) {
		t.Errorf("%+v", h)
	}
}

// A client that takes no interim response does not have them fill the memory.
func TestInterims_AreNotKeptWithoutALimit(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1 << 30}}, nil)
	taken := make(chan struct{})
	b.each = func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		go io.Copy(io.Discard, c.Conn)
		c.WriteWindowUpdate(0, 1<<30)
		for c.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: encoded(":status", "104"), EndHeaders: true}) == nil {
		}
		return false
	}
	p := pool(t, b.Address, Options{MaxHeaderBytes: 1000})
	req := post(strings.Repeat("x", 8<<20))
	req.On1xx = func(int, []transport.Field) { <-taken }
	var resp transport.Response
	done := make(chan error, 1)
	go func() { done <- p.Do(t.Context(), req, &resp) }()
	var x *exchange
	eventually(t, "it has failed", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, c := range p.conns {
			c.mu.Lock()
			for _, one := range c.streams {
				x = one
			}
			c.mu.Unlock()
		}
		if x == nil {
			return false
		}
		x.Mu.Lock()
		defer x.Mu.Unlock()
		return x.Cause != nil
	})
	x.Mu.Lock()
	if n := len(x.interims.queue); n > 16*1000/fieldBytes {
		t.Errorf("%d interim responses wait", n)
	}
	x.Mu.Unlock()
	close(taken)
	if e, ok := errors.AsType[*transport.Error](<-done); !ok || e.Kind != transport.HeaderTooLarge {
		t.Errorf("%v", e)
	}
}

const fieldBytes = len(":status") + len("104") + 32

// Frames without a byte of the body do not keep a response alive.
func TestNext_EmptyFramesAreNoBody(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.respond(f.StreamID, false, ":status", "200")
		for c.WriteData(f.StreamID, false, nil) == nil {
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
	p := pool(t, b.Address, Options{BodyTimeout: 100 * time.Millisecond})
	if e := failure(t, p, get("/")); e.Kind != transport.Stalled {
		t.Errorf("%v", e)
	}
}

func TestError_SaysThatTheBackendResponded(t *testing.T) {
	b := serveRaw(t, nil, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		c.respond(f.StreamID, true, "a", "b")
		return true
	})
	if e := failure(t, pool(t, b.Address, Options{}), get("/")); !e.Responded {
		t.Errorf("%+v", e)
	}
}
