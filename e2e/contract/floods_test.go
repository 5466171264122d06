package contract

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// flood is what a client sends over and over. begin prepares the connection; each is called with 0, 1, …, and
// returns the frames of one more round.
type flood struct {
	name   string
	word   string // of the log
	begin  func(w *pacetest.H2Wire)
	each   func(i uint32) []byte
	pause  time.Duration // between two rounds, on average
	served bool          // the response of a backend may come
}

// rawFrame returns one frame.
func rawFrame(kind http2.FrameType, flags http2.Flags, stream uint32, payload string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(b, byte(flags)), stream), payload...)
}

// simpleGet is the header of GET http://x/ in HPACK.
const simpleGet = "\x82\x86\x84\x41\x01x"

const (
	increment = "\x00\x00\x00\x01" // of a window, by 1
	cancel    = "\x00\x00\x00\x08"
)

func alike(frame []byte) func(uint32) []byte { return func(uint32) []byte { return frame } }

func beginUpload(w *pacetest.H2Wire) { w.Headers(1, false, post...) }

func endedStream(w *pacetest.H2Wire) {
	w.Headers(1, true, get...)
	w.Response(1)
}

var floodsOfFrames = []flood{
	{name: "PING", word: "PING", each: alike(rawFrame(http2.FramePing, 0, 0, "12345678"))},
	{name: "PING that acknowledges none", word: "PING", each: alike(rawFrame(http2.FramePing, http2.FlagPingAck, 0, "12345678"))},
	{name: "SETTINGS", word: "SETTINGS", each: alike(rawFrame(http2.FrameSettings, 0, 0, "\x00\x03\x00\x00\x00\x64"))},
	{name: "empty SETTINGS", word: "SETTINGS", each: alike(rawFrame(http2.FrameSettings, 0, 0, ""))},
	{name: "WINDOW_UPDATE of the connection", word: "WINDOW_UPDATE", each: alike(rawFrame(http2.FrameWindowUpdate, 0, 0, increment))},
	{name: "WINDOW_UPDATE of a stream", word: "WINDOW_UPDATE", begin: beginUpload, each: alike(rawFrame(http2.FrameWindowUpdate, 0, 1, increment))},
	{name: "WINDOW_UPDATE of a stream that is over", word: "WINDOW_UPDATE", begin: endedStream, each: alike(rawFrame(http2.FrameWindowUpdate, 0, 1, increment))},
	{name: "PRIORITY", word: "PRIORITY", each: func(i uint32) []byte { return rawFrame(http2.FramePriority, 0, 2*i+1, "\x00\x00\x00\x00\x10") }},
	{name: "frames of an unknown type", word: "frames of other types", each: alike(rawFrame(0x77, 0, 0, "x"))},
	{name: "empty DATA", word: "DATA without content", begin: beginUpload, each: alike(rawFrame(http2.FrameData, 0, 1, ""))},
	{name: "DATA that is padding only", word: "DATA without content", begin: beginUpload, each: alike(rawFrame(http2.FrameData, http2.FlagDataPadded, 1, "\x00"))},
	{name: "empty CONTINUATION", word: "short parts of a header", begin: func(w *pacetest.H2Wire) {
		w.Conn.Write(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, simpleGet))
	}, each: alike(rawFrame(http2.FrameContinuation, 0, 1, ""))},
	{name: "CONTINUATION of a byte", word: "short parts of a header", begin: func(w *pacetest.H2Wire) { // a value of 65,000 bytes
		w.Conn.Write(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, simpleGet+"\x00\x01x\x7f\xe9\xfa\x03"))
	}, each: alike(rawFrame(http2.FrameContinuation, 0, 1, "x"))},
	{name: "requests that are reset at once", word: "RST_STREAM", served: true, each: func(i uint32) []byte {
		return append(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 2*i+1, simpleGet), rawFrame(http2.FrameRSTStream, 0, 2*i+1, cancel)...)
	}},
	{name: "requests that are reset, 300 µs apart", word: "RST_STREAM", pause: 300 * time.Microsecond, served: true, each: func(i uint32) []byte {
		return append(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders|http2.FlagHeadersEndStream, 2*i+1, simpleGet), rawFrame(http2.FrameRSTStream, 0, 2*i+1, cancel)...)
	}},
	{name: "requests that pace is made to reset", word: "RST_STREAM", pause: 300 * time.Microsecond, served: true, each: func(i uint32) []byte {
		return append(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndHeaders, 2*i+1, "\x83\x86\x84\x41\x01x"), rawFrame(http2.FrameWindowUpdate, 0, 2*i+1, "\x00\x00\x00\x00")...)
	}},
}

// send sends rounds until the connection does not take more, or n have been sent.
func (f *flood) send(c net.Conn, n uint32) {
	began := time.Now()
	c.SetWriteDeadline(began.Add(pacetest.Patience))
	var batch []byte
	for i := range n {
		batch = append(batch, f.each(i)...)
		if f.pause == 0 && len(batch) < 8<<10 && i < n-1 {
			continue
		}
		if _, err := c.Write(batch); err != nil {
			return
		}
		batch = batch[:0]
		time.Sleep(time.Until(began.Add(time.Duration(i) * f.pause))) // what was late is made up for
	}
}

// goneAway reads until the connection ends, and returns the code of the last GOAWAY.
func goneAway(w *pacetest.H2Wire) (code http2.ErrCode, err error) {
	w.Conn.SetReadDeadline(time.Now().Add(pacetest.Patience))
	err = errors.New("no GOAWAY")
	for {
		f, end := w.ReadFrame()
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code, err = g.ErrCode, nil
		}
		if errors.Is(end, io.EOF) || errors.Is(end, syscall.ECONNRESET) {
			return code, err
		}
		if _, ok := end.(http2.StreamError); end != nil && !ok {
			return code, end
		}
	}
}

// wantFloods holds metric and log to n floods and nothing else.
func wantFloods(t *testing.T, p *pacetest.Pace, n float64, word string) {
	t.Helper()
	p.WantMetric(n, "pace_refused_total", "reason", "flood")
	p.WantMetric(n, "pace_refused_total")
	for _, line := range p.AwaitLines(1, "refused a client's request or connection") {
		if line.Text("reason") != "flood" || line.Text("flood") != word || !strings.HasPrefix(line.Text("peer"), "127.0.0.1:") {
			t.Errorf("the line is %v, want a flood of %s", line, word)
		}
	}
}

// A connection that is flooded with frames of a kind ends with ENHANCE_YOUR_CALM, over TLS as in clear text. That is
// one refusal, and other connections do not notice it.
func TestFloods_EndTheirConnection(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	certificate := ca.Issue("pace.test")
	for _, f := range floodsOfFrames {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			c := overTLS(upstreams(b), certificate)
			c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
			p := pacetest.Start(t, c)
			for i, over := range []*tls.Config{ca.Config("pace.test"), nil} {
				other := pacetest.DialH2Wire(t, p.Listeners[i], over)
				w := pacetest.DialH2Wire(t, p.Listeners[i], over)
				if f.begin != nil {
					f.begin(w)
				}
				cpu, memory := p.CPU(), p.RSS()
				go f.send(w.Conn, 1_000_000)
				if code, err := goneAway(w); err != nil || code != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("over TLS %v: got GOAWAY %v, %v; want ENHANCE_YOUR_CALM", over != nil, code, err)
				}
				t.Logf("over TLS %v: %v of CPU, %d KiB more memory", over != nil, p.CPU()-cpu, (p.RSS()-memory)>>10)
				wantFloods(t, p, float64(i+1), f.word)
				if err := other.Alive(); err != nil {
					t.Errorf("over TLS %v: another connection: %v", over != nil, err)
				}
				other.Close()
			}
			if n := len(b.Requests()); !f.served && n > 2 {
				t.Errorf("the backend got %d requests", n)
			}
			p.WantMetric(0, "pace_connections")
		})
	}
}

// A client that does not read what it makes pace send is ended as soon, and holds no memory meanwhile.
func TestFloods_OfAClientThatDoesNotRead(t *testing.T) {
	t.Parallel()
	for _, f := range floodsOfFrames[:4] {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := pacetest.Start(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "deliver_timeout", "0s"))
			memory := p.RSS()
			const connections = 2
			var wires []*pacetest.H2Wire
			for range connections {
				w := p.H2Wire()
				go f.send(w.Conn, 1_000_000)
				wires = append(wires, w)
			}
			p.WantMetric(connections, "pace_refused_total", "reason", "flood")
			p.WantMetric(connections, "pace_refused_total")
			if more := p.RSS() - memory; more > 100<<20 {
				t.Errorf("pace has taken %d MiB more", more>>20)
			}
			p.WantMetric(0, "pace_connections")
			for _, w := range wires {
				w.Close()
			}
		})
	}
}

// A flood ends the requests of its connection as the client's doing, and each is in line and metrics.
func TestFloods_EndTheRequestsOfTheirConnection(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, upstreams(b))
	t.Cleanup(func() { close(open) })
	w := p.H2Wire()
	for i := range uint32(3) {
		w.Headers(2*i+1, true, get...)
	}
	b.WantGot(3, "/x")
	go floodsOfFrames[0].send(w.Conn, 1_000_000)
	if code, err := goneAway(w); err != nil || code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("got GOAWAY %v, %v; want ENHANCE_YOUR_CALM", code, err)
	}
	p.WantMetric(3, "http_server_request_duration_seconds_count")
	p.WantMetric(3, "pace_requests_total", "pace_side", "client")
	lines := p.AwaitLines(3, "request")
	if len(lines) != 3 {
		t.Errorf("%d lines", len(lines))
	}
	for _, line := range lines {
		if line.Text("outcome") != "bad_request" {
			t.Errorf("the line says %v", line)
		}
	}
}

// fullSpeed is how long clients read as fast as they can.
const fullSpeed = 10 * time.Second

// What well-behaved clients send while they read at full speed is no flood: Go's client in small pieces, curl, and
// one that acknowledges every DATA frame in four parts, for its stream and for the connection, and measures the way
// with PING, as gRPC does.
func TestFloods_AreNotDownloads(t *testing.T) {
	t.Parallel()
	curl := parts.Path(t, "curl")
	ca := pacetest.NewCA(t)
	c := overTLS(upstreams(pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/endless": pacetest.Endless, "/messages": messages(64)}))), ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
	p := pacetest.Start(t, c)
	ctx, cancel := context.WithTimeout(t.Context(), fullSpeed)
	defer cancel()
	var all sync.WaitGroup
	for i, scheme := range []string{"https", "http"} {
		address := p.Listeners[i]
		client, over := pacetest.H2C.Client(t), (*tls.Config)(nil)
		if scheme == "https" {
			client, over = ca.Client(pacetest.H2C, "pace.test"), ca.Config("pace.test")
		}
		all.Go(func() {
			n, err := readSlowly(ctx, client, scheme+"://"+address+"/endless")
			if ctx.Err() == nil {
				t.Errorf("%s: Go's client stopped after %d MiB: %v", scheme, n>>20, err)
			}
			t.Logf("%s: Go's client read %d MiB", scheme, n>>20)
		})
		all.Go(func() {
			said, err := exec.Command(curl, "-sS", "-k", "--http2-prior-knowledge", "-o", "/dev/null", "-w", "%{http_version} %{size_download}",
				"-m", fmt.Sprint(fullSpeed.Seconds()), scheme+"://"+address+"/endless").Output()
			if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 28 || !strings.HasPrefix(string(said), "2 ") {
				t.Errorf("%s: curl: %v %s; want its own time limit", scheme, err, said)
			}
			t.Logf("%s: curl read %s", scheme, said)
		})
		for _, path := range []string{"/endless", "/messages"} {
			w := pacetest.DialH2Wire(t, address, over)
			all.Go(func() {
				n, err := acknowledgeAll(ctx, w, path)
				if ctx.Err() == nil {
					t.Errorf("%s%s: the client that acknowledges all stopped after %d frames: %v", scheme, path, n, err)
				}
				t.Logf("%s%s: %d frames, all acknowledged", scheme, path, n)
			})
		}
	}
	all.Wait()
	p.WantMetric(0, "pace_refused_total")
}

// Nor is it a flood that a client acknowledges each message of a few bytes, which are all that the backend has to send.
func TestFloods_AreNotShortMessages(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, messages(8))))
	ctx, cancel := context.WithTimeout(t.Context(), fullSpeed)
	defer cancel()
	w := p.H2Wire()
	n, err := acknowledgeAll(ctx, w, "/")
	if ctx.Err() == nil {
		t.Errorf("the client that acknowledges all stopped after %d frames: %v", n, err)
	}
	t.Logf("%d frames, all acknowledged", n)
	p.WantMetric(0, "pace_refused_total")
}

// messages sends pieces of n bytes for ever, one by one. A moment between them lets pace send each by itself.
func messages(n int) pacetest.Behaviour {
	return func(x *pacetest.Exchange) {
		for ok := x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"); ok; {
			ok = x.Write("%x\r\n%s\r\n", n, strings.Repeat("m", n))
			time.Sleep(time.Duration(64/n-1) * 20 * time.Microsecond)
		}
	}
}

// readSlowly reads a response in pieces of 512 bytes until ctx ends.
func readSlowly(ctx context.Context, client *http.Client, url string) (n int64, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{resp.Body}, make([]byte, 512))
}

// acknowledgeAll reads a response until ctx ends, and acknowledges each DATA frame: a short one by two WINDOW_UPDATE,
// others by eight, and all by a PING.
func acknowledgeAll(ctx context.Context, w *pacetest.H2Wire, path string) (frames int, err error) {
	w.Headers(1, true, pacetest.H2Request("GET", path)...)
	for ; ctx.Err() == nil; frames++ {
		f, err := w.ReadFrame()
		if err != nil {
			return frames, err
		}
		if data, ok := f.(*http2.DataFrame); ok && data.Length > 0 {
			parts := []uint32{data.Length}
			if n := data.Length / 4; n > 1<<10 {
				parts = []uint32{n, n, n, data.Length - 3*n}
			}
			for _, n := range parts {
				w.WriteWindowUpdate(0, n)
				w.WriteWindowUpdate(1, n)
			}
			w.WritePing(false, [8]byte{})
		}
	}
	return frames, nil
}

// A header that never ends, or that HPACK makes large, costs no more than the limit of headers allows: the client
// gets rid of little of it, and what it asks for is refused once.
func TestFloods_OfHeaders(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10 // max_header_bytes
	filler := strings.Repeat("a", 4000)
	table := "\x40\x01x\x7f\xa1\x1e" + filler // a field of 4,000 bytes, and from then on 1 byte: \xbe
	part := func(text string) []byte { return rawFrame(http2.FrameContinuation, 0, 1, text) }
	begin := rawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, simpleGet)
	for _, tt := range []struct {
		name   string
		first  []byte
		each   []byte // again and again after it
		reason string
	}{
		{"fields without an end", begin, part(strings.Repeat("\x00\x01x\x7f\xa1\x1e"+filler, 4)), "h2_error"},
		{"a value without an end", append(slices.Clone(begin), part("\x00\x01x\x7f\xff\xff\xff\xff\x07")...), part(strings.Repeat("a", 16000)), "h2_error"},
		{"a field that is repeated by a byte, without an end", append(slices.Clone(begin), part(table)...), part(strings.Repeat("\xbe", 16000)), "h2_error"},
		{"a field that is repeated by a byte, and then the end", append(slices.Clone(begin), part(table)...), rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, strings.Repeat("\xbe", 16000)), "header_too_large"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			p := pacetest.Start(t, set(upstreams(b), "server", "max_header_bytes", limit))
			cpu, memory := p.CPU(), p.RSS()
			w := p.H2Wire()
			w.Conn.Write(tt.first)
			sent := make(chan int, 1)
			go func() {
				n := 0
				for ; n < 10_000; n++ {
					if _, err := w.Conn.Write(tt.each); err != nil || tt.reason == "header_too_large" {
						break
					}
				}
				sent <- n
			}()
			if tt.reason == "header_too_large" {
				if got := w.Response(1).String(); got != "431" {
					t.Errorf("the client got %s, want 431", got)
				}
			} else if code, err := goneAway(w); err != nil || code == http2.ErrCodeNo {
				t.Errorf("got GOAWAY %v, %v", code, err)
			}
			w.Close()
			t.Logf("%d frames were sent; %v of CPU, %d KiB more memory", <-sent, p.CPU()-cpu, (p.RSS()-memory)>>10)
			if more := p.RSS() - memory; more > 40<<20 {
				t.Errorf("pace has taken %d MiB more", more>>20)
			}
			wantRefused(t, p, nil, 1, tt.reason)
			if n := len(b.Requests()); n > 0 {
				t.Errorf("the backend got %d requests", n)
			}
		})
	}
}

// Requests that are never finished end in time, whatever part of them is missing, and their streams are free again.
func TestFloods_OfRequestsWithoutAnEnd(t *testing.T) {
	t.Parallel()
	c := set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "server", "body_timeout", "300ms")
	p := pacetest.Start(t, set(c, "server", "read_header_timeout", "2s"))
	w := p.H2Wire()
	const streams = 250
	for i := range uint32(streams) {
		w.Headers(2*i+1, false, post...)
	}
	w.Conn.SetReadDeadline(time.Now().Add(pacetest.Patience))
	for late := 0; late < streams; {
		f, err := w.ReadFrame()
		if err != nil {
			t.Fatalf("%d of %d streams got 408, and then %v", late, streams, err)
		}
		if h, ok := f.(*http2.MetaHeadersFrame); ok && h.PseudoValue("status") == "408" {
			late++
		}
	}
	p.WantMetric(streams, "pace_requests_total", "pace_outcome", "request_timeout")
	w.Headers(2*streams+1, true, get...)
	if got := w.Response(2*streams + 1).String(); got != "200" {
		t.Errorf("a request after them got %s", got)
	}
	p.WantMetric(0, "pace_refused_total")

	part := p.H2Wire() // a header without an end, while another stream is open
	part.Headers(1, false, post...)
	part.Conn.Write(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 3, simpleGet))
	goneAway(part)
	wantRefused(t, p, nil, 1, "header_timeout")
	p.WantMetric(streams+2, "pace_requests_total")

	whole := p.H2Wire() // one that has an end, in parts
	whole.Conn.Write(rawFrame(http2.FrameHeaders, http2.FlagHeadersEndStream, 1, simpleGet))
	time.Sleep(100 * time.Millisecond)
	whole.Conn.Write(rawFrame(http2.FrameContinuation, http2.FlagContinuationEndHeaders, 1, ""))
	if got := whole.Response(1).String(); got != "200" {
		t.Errorf("a header in two parts got %s", got)
	}
	time.Sleep(2500 * time.Millisecond) // in which a time that still ran would be over
	if err := whole.Alive(); err != nil {
		t.Errorf("the connection after a header in two parts: %v", err)
	}
	p.WantMetric(1, "pace_refused_total")
}
