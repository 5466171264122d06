package h2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/proxy/frames"
	"pace/telemetry"
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(b, flags), stream), payload...)
}

// watch returns one that notes in refused what is refused.
func watch(limit int, refused *[]telemetry.Refusal) Watch {
	refuse := func(why telemetry.Refusal) { *refused = append(*refused, why) }
	return Watch{HeaderBytes: limit, MaxStreams: 250, Refuse: refuse, Flood: func(string) { refuse(telemetry.RefusedFlood) }, Header: func(bool) {}, Late: func() bool { return false }}
}

// readIncoming lets an incoming read these bytes, and returns what it refused.
func readIncoming(limit int, b []byte) (*Conn, []telemetry.Refusal) {
	var got []telemetry.Refusal
	c := New(watch(limit, &got))
	c.in.read(b)
	return c, got
}

// along reads along, as a connection does, what somebody else reads.
type along struct{ *Conn }

func (a along) Write(b []byte) (int, error) { a.in.read(b); return len(b), nil }

// FuzzIncoming holds the reader to the framer that net/http contains: reading along with it, it finds the
// same requests and refuses the same ones.
func FuzzIncoming(f *testing.F) {
	request := func(fields ...string) []byte {
		var block bytes.Buffer
		e := hpack.NewEncoder(&block)
		for i := 0; i < len(fields); i += 2 {
			e.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
		}
		return block.Bytes()
	}
	get := []string{":method", "GET", ":scheme", "http", ":authority", "x", ":path", "/"}
	with := func(more ...string) []byte { return request(append(slices.Clone(get), more...)...) }
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, with()))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, with("Upper", "x")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, with("x", "a\r\nb")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, with(":method", "GET")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, request(":method", "GET", ":method", "GET")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, request(":status", "200", ":path", "/")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, request(":bogus", "")))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders, 1, with("x", strings.Repeat("x", 2000))))
	f.Add(append(frame(frames.Headers, frames.EndStream, 1, with()), frame(frames.Continuation, frames.EndHeaders, 1, with("x", "y"))...))
	f.Add(append(frame(frames.Headers, frames.EndStream, 1, with("Upper", "x")), frame(frames.Continuation, frames.EndHeaders, 1, nil)...))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders|frames.Padded, 1, append([]byte{3}, append(with(), 0, 0, 0)...)))
	f.Add(frame(frames.Headers, frames.EndStream|frames.EndHeaders|frames.Prioritized, 3, append([]byte{0, 0, 0, 1, 9}, with()...)))
	f.Add(append(frame(frames.Headers, frames.EndHeaders, 1, with("content-length", "3")), frame(frames.Data, frames.EndStream|frames.Padded, 1, []byte("\x02abcde"))...))
	f.Add(append(frame(frames.Data, frames.Padded, 1, []byte{9}), frame(frames.Headers, frames.EndHeaders, 1, with())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		const limit = 500
		var refused []telemetry.Refusal
		c := New(watch(limit, &refused))
		fr := http2.NewFramer(io.Discard, io.TeeReader(bytes.NewReader(b), along{c}))
		fr.SetMaxReadFrameSize(LargestFrame)
		fr.ReadMetaHeaders = hpack.NewDecoder(4<<10, nil)
		fr.MaxHeaderListSize = limit + 320
		newest, resets := uint32(0), 0
		large := map[uint32]bool{}
		for {
			f, err := fr.ReadFrame()
			if se, ok := err.(http2.StreamError); ok {
				kind := c.in.frames.Kind()
				if (kind == frames.Headers || kind == frames.Continuation) && se.StreamID > newest {
					resets++
				}
				continue
			}
			if kind := c.in.frames.Kind(); errors.Is(err, io.ErrUnexpectedEOF) && c.in.frames.BetweenFrames() && (kind == frames.Headers || kind == frames.Data) {
				resets++ // a frame too short for its flags
			}
			if err != nil {
				break
			}
			if h, ok := f.(*http2.MetaHeadersFrame); ok {
				if h.StreamID%2 == 0 {
					break // GOAWAY
				}
				if h.StreamID > newest {
					newest = h.StreamID
					if h.HasPriority() && h.Priority.StreamDep == h.StreamID {
						resets++
						continue
					}
					large[h.StreamID] = h.Truncated
				}
			}
		}
		if len(refused) != resets {
			t.Errorf("refused %d, the framer resets %d: %q", len(refused), resets, b)
		}
		for id, truncated := range large {
			s, ok := c.streams[id]
			if !ok {
				t.Errorf("stream %d was not seen: %q", id, b)
			} else if (s.refusal == ownHeaderLarge) != truncated {
				t.Errorf("stream %d: truncated is %v, the refusal %v: %q", id, truncated, s.refusal, b)
			}
		}
		if len(c.streams) != len(large) {
			t.Errorf("%d streams, the framer has %d: %q", len(c.streams), len(large), b)
		}
	})
}

// However the connection cuts what comes, the same is refused.
func TestIncoming_BytesMayBeCutAnywhere(t *testing.T) {
	var block bytes.Buffer
	hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: "Upper", Value: "x"})
	all := append(frame(frames.Headers, frames.EndHeaders, 1, block.Bytes()), frame(frames.Data, frames.EndStream, 1, []byte("hello"))...)
	all = append(all, frame(frames.Headers, frames.EndHeaders, 3, block.Bytes())...)
	for size := 1; size <= len(all); size++ {
		var refused []telemetry.Refusal
		c := New(watch(1000, &refused))
		for part := range slices.Chunk(all, size) {
			c.in.read(part)
		}
		if n := len(refused); n != 2 {
			t.Errorf("in pieces of %d bytes: %d refused, want 2", size, n)
		}
	}
}

// The first thing on the wire that ends a stream is its cause, whenever anybody asks.
func TestConn_Cause(t *testing.T) {
	open := frame(frames.Headers, frames.EndHeaders, 1, []byte("\x82\x86\x84\x41\x01x\x0f\x0d\x015")) // GET http / x, content-length: 5
	reset := frame(frames.Reset, 0, 1, []byte{0, 0, 0, 8})
	data := func(text string, flags byte) []byte { return frame(frames.Data, flags, 1, []byte(text)) }
	for _, tt := range []struct {
		name  string
		comes [][]byte
		goes  []byte
		want  Cause
	}{
		{"nothing yet", nil, nil, Unknown},
		{"a whole body", [][]byte{data("hello", frames.EndStream)}, nil, Unknown},
		{"a body that is too long", [][]byte{data("hello!", 0)}, nil, ClientBroke},
		{"a body that is too long, and then a reset", [][]byte{data("hello!", 0), reset}, nil, ClientBroke},
		{"a body that is too short", [][]byte{data("he", frames.EndStream)}, nil, ClientBroke},
		{"a body that is too short, and then a reset", [][]byte{data("he", frames.EndStream), reset}, nil, ClientBroke},
		{"a reset in the body", [][]byte{data("he", 0), reset}, nil, ClientLeft},
		{"a reset after the body", [][]byte{data("hello", frames.EndStream), reset}, nil, ClientLeft},
		{"a reset, and then too much", [][]byte{reset, data("hello!", 0)}, nil, ClientLeft},
		{"DATA after the end", [][]byte{data("hello", frames.EndStream), data("", 0)}, nil, ClientBroke},
		{"a window that grows by nothing", [][]byte{frame(frames.WindowUpdate, 0, 1, []byte{0, 0, 0, 0})}, nil, ClientBroke},
		{"a stream that depends on itself", [][]byte{frame(frames.Priority, 0, 1, []byte{0, 0, 0, 1, 0})}, nil, ClientBroke},
		{"a trailer that does not end the stream", [][]byte{frame(frames.Headers, frames.EndHeaders, 1, []byte("\x00\x01a\x01b"))}, nil, ClientBroke},
		{"a trailer with a pseudo-field", [][]byte{frame(frames.Headers, frames.EndHeaders|frames.EndStream, 1, []byte("\x82"))}, nil, ClientBroke},
		{"a trailer with a capital", [][]byte{frame(frames.Headers, frames.EndHeaders|frames.EndStream, 1, []byte("\x00\x01A\x01b"))}, nil, ClientBroke},
		{"net/http resets it for flow control", nil, frame(frames.Reset, 0, 1, []byte{0, 0, 0, 3}), ClientBroke},
		{"net/http needs no more of it", nil, frame(frames.Reset, 0, 1, []byte{0, 0, 0, 0}), Unknown},
		{"the handler aborts its response", nil, frame(frames.Reset, 0, 1, []byte{0, 0, 0, 2}), Unknown},
	} {
		c, _ := readIncoming(1000, open)
		for _, b := range tt.comes {
			c.in.read(b)
		}
		c.ReadOutgoing(tt.goes)
		if got := c.Cause(1); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// What a client opens and net/http never hands to a handler is not remembered for ever.
func TestConn_ForgetsWhatNeverBegins(t *testing.T) {
	c, _ := readIncoming(1000, nil)
	for id := uint32(1); id < 20_001; id += 2 {
		c.in.read(frame(frames.Headers, frames.EndHeaders|frames.EndStream, id, []byte("\x82\x86\x84\x41\x01x")))
		if id == 7 {
			c.Begin(id)
		}
	}
	if n := len(c.streams); n > c.watch.maxUnbegun() || !c.streams[7].begun {
		t.Errorf("%d streams are remembered, the one that runs among them: %v", n, c.streams[7].begun)
	}
	c.End(7)
	if _, ok := c.streams[7]; ok {
		t.Error("a stream is remembered after its handler's end")
	}
}

// TestStreamID fails when a version of Go keeps the id of a stream elsewhere than [StreamID] looks.
func TestStreamID(t *testing.T) {
	ids := make(chan uint32, 10)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { ids <- StreamID(w) }))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.Protocols.SetHTTP1(true)
	s.Start()
	defer s.Close()
	only := new(http.Protocols)
	only.SetUnencryptedHTTP2(true)
	tr := &http.Transport{Protocols: only}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr}
	for _, want := range []uint32{1, 3, 5} {
		resp, err := client.Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if got := <-ids; got != want {
			t.Errorf("got %d, want %d", got, want)
		}
	}
	resp, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	for what, got := range map[string]uint32{"HTTP/1": <-ids, "a recorder": StreamID(httptest.NewRecorder()), "nothing": StreamID(nil)} {
		if got != 0 {
			t.Errorf("%s has stream %d", what, got)
		}
	}
}

// A request is early or late by the moment in which its header was whole, whenever its handler runs.
func TestConn_Early(t *testing.T) {
	late := false
	w := watch(1000, new([]telemetry.Refusal))
	w.Late = func() bool { return late }
	c := New(w)
	header := []byte("\x82\x86\x84\x41\x01x") // GET http / x
	c.ReadIncoming(frame(frames.Headers, frames.EndHeaders|frames.EndStream, 1, header))
	late = true
	c.ReadIncoming(frame(frames.Headers, frames.EndHeaders|frames.EndStream, 3, header))
	if !c.Early(1) || c.Early(3) || c.Early(5) {
		t.Errorf("early: %v, %v and %v; want only the first stream", c.Early(1), c.Early(3), c.Early(5))
	}
}

// BenchmarkStreamID shows what it costs to find the id on each request.
func BenchmarkStreamID(b *testing.B) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		b.ReportAllocs()
		for b.Loop() {
			StreamID(w)
		}
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	resp, err := s.Client().Get(s.URL)
	if err != nil {
		b.Fatal(err)
	}
	resp.Body.Close()
}

// How much of a body has come is known before net/http has read it, and of each stream apart.
func TestConn_Body(t *testing.T) {
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":authority", "x"}, {":path", "/"}} {
		e.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	c, _ := readIncoming(1<<10, slices.Concat(
		frame(frames.Headers, frames.EndHeaders, 1, block.Bytes()),
		frame(frames.Headers, frames.EndHeaders|frames.EndStream, 3, block.Bytes()),
		frame(frames.Data, 0, 1, []byte("hel")),
	))
	for _, want := range []struct {
		id    uint32
		came  int64
		ended bool
	}{{1, 3, false}, {3, 0, true}, {5, 0, false}} {
		if came, ended := c.Body(want.id); came != want.came || ended != want.ended {
			t.Errorf("stream %d: %d bytes have come, ended: %v", want.id, came, ended)
		}
	}
	c.in.read(frame(frames.Data, frames.EndStream, 1, []byte("lo")))
	if came, ended := c.Body(1); came != 5 || !ended {
		t.Errorf("at the end %d bytes have come, ended: %v", came, ended)
	}
}
