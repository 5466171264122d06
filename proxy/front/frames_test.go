package front

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// What a handler writes at once over HTTP/2 goes out in one record of TLS, and nothing waits that it flushes.
func TestWriteFrames_HoldsWhatMoreFollows(t *testing.T) {
	body := func(n int) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) { w.Write(make([]byte, n)) }
	}
	trailer := func(w http.ResponseWriter) {
		w.Write(make([]byte, 100))
		w.(http.Flusher).Flush()
		w.Header().Set(http.TrailerPrefix+"X", "y")
	}
	for _, tt := range []struct {
		name   string
		write  func(http.ResponseWriter)
		expect bool
		want   int // records
	}{
		{"a header and a small body", body(300), true, 1},
		{"a header, a body and a trailer", trailer, true, 1},
		{"a header alone", func(http.ResponseWriter) {}, true, 1},
		{"the same, unless the handler says that more follows", body(300), false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := talk(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("A", "b") // without a field, net/http itself would send header and body together
				if tt.expect {
					ConnOf(r.Context()).ExpectMore(StreamID(w))
				}
				tt.write(w)
			})
			if got := c.request(t, 1); got != tt.want {
				t.Errorf("got %d records, want %d", got, tt.want)
			}
		})
	}
}

// A handler that waits after it has said that nothing more follows does not keep from its client what it has
// written. Nor does one that has not said so, for long: its client's window may be too small for more.
func TestWriteFrames_HoldsNothingForLong(t *testing.T) {
	for name, patience := range map[string]time.Duration{"after a flush": time.Hour, "in spite of what it said": usualPatience} {
		t.Run(name, func(t *testing.T) {
			came := make(chan struct{})
			c := talk(t, patience, func(w http.ResponseWriter, r *http.Request) {
				conn, id := ConnOf(r.Context()), StreamID(w)
				conn.ExpectMore(id)
				w.Write(make([]byte, 5000)) // more than net/http holds
				if patience != usualPatience {
					conn.ExpectNoMore(id)
					conn.SendHeld()
				}
				<-came
			})
			c.send(1)
			for got := 0; got < 5000; {
				if f, ok := c.frame(t).(*http2.DataFrame); ok {
					got += len(f.Data())
				}
			}
			close(came)
			c.untilEnd(t, 1)
		})
	}
}

// A notice of the end overtakes nothing that is held.
func TestWriteFrames_GoodbyeComesAfterWhatIsHeld(t *testing.T) {
	c := talk(t, time.Minute, func(w http.ResponseWriter, r *http.Request) {
		conn := ConnOf(r.Context())
		conn.ExpectMore(StreamID(w))
		w.Write(make([]byte, 5000))
		for said := false; !said; { // not in the middle of a frame
			conn.writing.Lock()
			conn.sayGoodbye()
			said = conn.goneAway
			conn.writing.Unlock()
		}
	})
	c.send(1)
	for began := false; ; {
		switch f := c.frame(t).(type) {
		case *http2.HeadersFrame:
			began = true
		case *http2.GoAwayFrame:
			if !began {
				t.Error("GOAWAY came before the header")
			}
			return
		case *http2.DataFrame:
			if f.StreamEnded() {
				t.Fatal("no GOAWAY came")
			}
		}
	}
}

// pieces writes until a write fails, or ctx ends, and hands each piece over as a response is that comes piece by piece.
func pieces(ctx context.Context, w http.ResponseWriter, each func()) {
	conn, id := ConnOf(ctx), StreamID(w)
	for ctx.Err() == nil {
		conn.ExpectMore(id)
		if _, err := w.Write(make([]byte, 5000)); err != nil { // net/http buffers less, and leaves nothing for the flush
			return
		}
		conn.ExpectNoMore(id)
		if w.(interface{ FlushError() error }).FlushError() != nil {
			return
		}
		each()
		conn.SendHeld()
	}
}

// A client that takes nothing of what was held is given up after the same time as any other.
func TestSendHeld_WaitsNoLongerThanAnyWrite(t *testing.T) {
	const limit = 500 * time.Millisecond
	var last atomic.Int64
	lasted := make(chan time.Duration, 1)
	c := talkFor(t, usualPatience, limit, func(w http.ResponseWriter, r *http.Request) {
		last.Store(time.Now().UnixNano())
		pieces(r.Context(), w, func() { last.Store(time.Now().UnixNano()) })
		<-r.Context().Done()
		lasted <- time.Since(time.Unix(0, last.Load()))
	})
	c.send(1)
	time.Sleep(limit * 4 / 5)
	c.WritePing(false, [8]byte{2}) // net/http wants to write, too, and must not begin another wait
	select {
	case d := <-lasted:
		if d < limit/2 || d > limit*13/10 {
			t.Errorf("the connection ended %v after the client took the last piece, want %v", d, limit)
		}
	case <-time.After(10 * limit):
		t.Error("the connection does not end")
	}
}

// A client that takes its response slowly, but in time again and again, gets all of it.
func TestWriteFrames_ProgressIsEnough(t *testing.T) {
	const limit, size = 400 * time.Millisecond, 8 << 20
	c := talkFor(t, usualPatience, limit, func(w http.ResponseWriter, r *http.Request) {
		conn, id := ConnOf(r.Context()), StreamID(w)
		for range size / 4096 {
			conn.ExpectMore(id)
			w.Write(make([]byte, 4096))
			conn.ExpectNoMore(id)
			w.(http.Flusher).Flush()
			conn.SendHeld()
		}
	})
	c.wire.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	c.wire.pause.Store(true)
	c.send(1)
	for got, began := 0, time.Now(); ; {
		f, err := c.ReadFrame()
		if err != nil {
			t.Fatalf("after %d bytes and %v: %v", got, time.Since(began), err)
		}
		got += int(f.Header().Length)
		if f.Header().StreamID == 1 && f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream) {
			return
		}
		c.wire.pause.Store(got < 1<<20) // what the kernel wakes a writer for takes longer than the limit
	}
}

// talker is a client over HTTP/2 and TLS that counts records.
type talker struct {
	*http2.Framer
	wire  *records
	block []byte
}

// records counts what comes.
type records struct {
	net.Conn
	head []byte // of the present record
	left int    // of it
	n    int    // records with data that have begun

	pause atomic.Bool // before each Read
}

func (r *records) Read(b []byte) (int, error) {
	if r.pause.Load() {
		time.Sleep(5 * time.Millisecond)
		b = b[:min(len(b), 4096)]
	}
	n, err := r.Conn.Read(b)
	for rest := b[:n]; len(rest) > 0; {
		if r.left > 0 {
			skip := min(r.left, len(rest))
			r.left, rest = r.left-skip, rest[skip:]
			continue
		}
		take := min(5-len(r.head), len(rest))
		r.head, rest = append(r.head, rest[:take]...), rest[take:]
		if len(r.head) == 5 {
			if r.head[0] == 23 { // application data
				r.n++
			}
			r.left, r.head = int(r.head[3])<<8|int(r.head[4]), r.head[:0]
		}
	}
	return n, err
}

// talk serves h, and returns a client after what net/http sends in the beginning.
func talk(t *testing.T, patience time.Duration, h http.HandlerFunc) *talker {
	return talkFor(t, patience, 0, h)
}

// talkFor is talk with a client that must take something within deliver.
func talkFor(t *testing.T, patience, deliver time.Duration, h http.HandlerFunc) *talker {
	s := NewServer(Options{
		Handler: h, InFlight: new(InFlight), Attach: func() interface{ Close() } { return nothing{} },
		OnPanic:       func(_ http.ResponseWriter, _ *http.Request, p any, _ string) { t.Error(p) },
		Refused:       func(why telemetry.Refusal) { t.Errorf("refused: %v", why) },
		HandshakeDone: func(string) {},
		Log:           slog.New(slog.DiscardHandler), Settings: Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16, DeliverTimeout: deliver},
	})
	s.patience = patience
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(l, ListenerSettings{TLS: &handshake.Options{Certificate: anyCertificate(t)}})
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc.SetDeadline(time.Now().Add(time.Minute))
	c := &talker{wire: &records{Conn: nc}}
	secure := tls.Client(c.wire, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	t.Cleanup(func() {
		secure.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		s.Drain(ctx)
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	c.Framer = http2.NewFramer(secure, secure)
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	for _, f := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "https"}, {Name: ":authority", Value: "a"}, {Name: ":path", Value: "/"}} {
		e.WriteField(f)
	}
	c.block = block.Bytes()
	io.WriteString(secure, http2.ClientPreface)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	c.WriteSettingsAck()
	c.WriteWindowUpdate(0, 1<<30)
	c.WritePing(false, [8]byte{1})
	for {
		if f, ok := c.frame(t).(*http2.PingFrame); ok && f.IsAck() {
			return c
		}
	}
}

func (c *talker) send(id uint32) {
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block, EndHeaders: true, EndStream: true})
}

func (c *talker) frame(t *testing.T) http2.Frame {
	f, err := c.ReadFrame()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (c *talker) untilEnd(t *testing.T, id uint32) {
	for {
		if h := c.frame(t).Header(); h.StreamID == id && h.Type <= http2.FrameHeaders && h.Flags.Has(http2.FlagDataEndStream) {
			return
		}
	}
}

// request returns how many records the response took.
func (c *talker) request(t *testing.T, id uint32) int {
	before := c.wire.n
	c.send(id)
	c.untilEnd(t, id)
	return c.wire.n - before
}
