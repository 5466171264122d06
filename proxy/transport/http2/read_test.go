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
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

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
		{"a window that grows by nothing", raw(http2.FrameWindowUpdate, 0, 3, "\x00\x00\x00\x00"), http2.ErrCodeProtocol, false},
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

// A body is sent as the backend opens its windows, also if it makes them smaller meanwhile.
func TestUpload_HeedsTheWindows(t *testing.T) {
	const size = 300_000
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 1000}, {ID: http2.SettingMaxFrameSize, Val: 20000}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool {
		id, stream, conn, got := f.StreamID, 1000, usualWindow, 0
		for step := 0; ; {
			f, err := c.ReadFrame()
			if err != nil {
				return false
			}
			d, ok := f.(*http2.DataFrame)
			if !ok {
				continue
			}
			step++
			got += len(d.Data())
			stream -= len(d.Data())
			conn -= len(d.Data())
			if stream < 0 && step > 3 || conn < 0 { // the first ones may have been on their way when the window became smaller
				t.Errorf("more than the windows: %d, %d", stream, conn)
			}
			if d.StreamEnded() {
				c.respond(id, false, ":status", "200")
				c.WriteData(id, true, fmt.Append(nil, got))
				return true
			}
			if step == 1 {
				c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
				stream -= 990 // below 0, for all of it was used
			}
			if stream < 500 {
				c.WriteWindowUpdate(id, 7000)
				stream += 7000
			}
			if conn < 20000 {
				c.WriteWindowUpdate(0, 50000)
				conn += 50000
			}
		}
	})
	p := pool(t, b.Address, Options{})
	for _, ready := range []bool{false, true} {
		req := post(strings.Repeat("x", size))
		if ready {
			req.BodyReady = func() bool { return true }
		}
		if h, body := fetch(t, p, req); h.Status != 200 || body != fmt.Sprint(size) {
			t.Errorf("%d, %q", h.Status, body)
		}
		p.retire(p.conns[0])
	}
}

// A backend that opens no window for a body has stalled.
func TestUpload_Stalls(t *testing.T) {
	b := serveRaw(t, []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: 10}}, func(c *rawConn, f *http2.MetaHeadersFrame, n int) bool { return true })
	p := pool(t, b.Address, Options{ResponseTimeout: 100 * time.Millisecond})
	for _, ready := range []bool{false, true} {
		req := post(strings.Repeat("x", 100))
		if ready {
			req.BodyReady = func() bool { return true }
		}
		if e := failure(t, p, req); e.Kind != transport.Stalled || e.Phase != transport.Send || e.BytesSent == 0 {
			t.Errorf("%+v", e)
		}
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
	if e := failure(t, p, get("/")); e.Kind != transport.Full {
		t.Errorf("got %v, although the backend may still work on %d requests", e, limit)
	}
	pong <- true
	eventually(t, "there is one for the other resets", func() bool { return b.pings.Load() == 2 })
	if h, body := fetch(t, p, get("/")); h.Status != 200 || body != "hello" {
		t.Errorf("%d, %q", h.Status, body)
	}
	c := p.conns[0]
	if got := c.room(); got != 1 {
		t.Errorf("there is room for %d, want 1 until the second PING has come back", got)
	}
	pong <- true
	eventually(t, "there is room again", func() bool { return c.room() == limit })
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
		body, status := "", resp.Status
		if err == nil {
			body, err = readAll(&resp)
		}
		resp.Close()
		if err != nil {
			if e, ok := errors.AsType[*transport.Error](err); !ok || e.Err == nil {
				t.Errorf("%v", err)
			}
			return
		}
		said, err := byNetHTTP(dial1)
		if _, ofStream := errors.AsType[http2.StreamError](err); err == nil && said != fmt.Sprint(status, body) || ofStream {
			t.Errorf("got %d %q, net/http %q, %v", status, body, said, err)
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
	return fmt.Sprint(resp.StatusCode, string(body)), nil
}
