package pacetest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// H2Wire is an HTTP/2 client that sends any frames in any order.
type H2Wire struct {
	*http2.Framer
	Conn net.Conn // TCP, or TLS over it
	t    testing.TB

	hpack    *hpack.Encoder
	block    bytes.Buffer
	Settings map[http2.SettingID]uint32 // what pace advertised
}

// H2Wire connects to pace's proxy listener, and exchanges settings.
func (p *Pace) H2Wire() *H2Wire {
	p.t.Helper()
	return DialH2Wire(p.t, p.Proxy, nil)
}

// DialH2Wire connects to addr, over TLS if there is a config, and exchanges settings. Reads and writes end after
// twice [Patience] at the latest.
func DialH2Wire(t testing.TB, addr string, over *tls.Config) *H2Wire {
	t.Helper()
	c := net.Conn(DialWire(t, addr).TCPConn)
	if over != nil {
		over = over.Clone()
		over.NextProtos = []string{http2.NextProtoTLS}
		c = tls.Client(c, over)
	}
	if _, err := io.WriteString(c, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	w := &H2Wire{Framer: http2.NewFramer(c, bufio.NewReader(c)), Conn: c, t: t, Settings: map[http2.SettingID]uint32{}}
	w.AllowIllegalWrites = true
	w.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	w.hpack = hpack.NewEncoder(&w.block)
	w.WriteSettings()
	f, err := w.ReadFrame()
	s, ok := f.(*http2.SettingsFrame)
	if err != nil || !ok {
		t.Fatalf("the first frame is %v, %v; want SETTINGS", f, err)
	}
	s.ForeachSetting(func(s http2.Setting) error { w.Settings[s.ID] = s.Val; return nil })
	w.WriteSettingsAck()
	return w
}

// H2Request returns the fields of a request, in the order name, value, name, value.
func H2Request(method, path string, more ...string) []string {
	return append([]string{":method", method, ":scheme", "http", ":authority", "x", ":path", path}, more...)
}

// H2Pairs returns the same with other values for some fields, "-" for none.
func H2Pairs(fields []string, change ...string) []string {
	var got []string
	for i := 0; i < len(fields); i += 2 {
		value := fields[i+1]
		for j := 0; j < len(change); j += 2 {
			if change[j] == fields[i] {
				value = change[j+1]
			}
		}
		if value != "-" {
			got = append(got, fields[i], value)
		}
	}
	return got
}

// Headers sends these fields as they are, in as many frames as they need.
func (w *H2Wire) Headers(stream uint32, end bool, fields ...string) {
	w.t.Helper()
	for i := 0; i < len(fields); i += 2 {
		w.hpack.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	const maxFrame = 16384
	part := w.block.Next(maxFrame)
	w.check(w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: part, EndStream: end, EndHeaders: w.block.Len() == 0}))
	for w.block.Len() > 0 {
		part = w.block.Next(maxFrame)
		w.check(w.WriteContinuation(stream, w.block.Len() == 0, part))
	}
	w.block.Reset()
}

func (w *H2Wire) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// H2Response is how a stream ended.
type H2Response struct {
	Response
	Reset  bool // RST_STREAM came, with this code
	GoAway bool // GOAWAY came, with this code; the connection is over
	Code   http2.ErrCode

	body []byte // becomes Body
}

func (a H2Response) String() string {
	switch {
	case a.Status == 0 && a.Reset:
		return "RST_STREAM " + a.Code.String()
	case a.Status == 0 && a.GoAway:
		return "GOAWAY " + a.Code.String()
	case a.Err != nil:
		return a.Err.Error()
	case a.Reset && a.Code != http2.ErrCodeNo:
		return fmt.Sprintf("%d, RST_STREAM %s", a.Status, a.Code)
	}
	return fmt.Sprint(a.Status)
}

// Response reads until the stream ends, with its last frame, RST_STREAM or GOAWAY. It drops the frames of other streams.
func (w *H2Wire) Response(stream uint32) (a H2Response) {
	w.t.Helper()
	defer func() { a.Body, a.body = string(a.body), nil }()
	w.Conn.SetReadDeadline(time.Now().Add(Patience))
	for {
		f, err := w.ReadFrame()
		if err != nil {
			a.Err = err
			return a
		}
		if done := a.take(w, stream, f); done {
			return a
		}
	}
}

// take notes a frame and reports whether it is the stream's last one.
func (a *H2Response) take(w *H2Wire, stream uint32, f http2.Frame) bool {
	switch f := f.(type) {
	case *http2.GoAwayFrame:
		a.GoAway, a.Code = true, f.ErrCode
		return f.ErrCode != http2.ErrCodeNo
	case *http2.PingFrame:
		if !f.IsAck() {
			w.WritePing(true, f.Data)
		}
		return false
	}
	if f.Header().StreamID != stream {
		return false
	}
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		if status := f.PseudoValue("status"); len(status) == 3 && status[0] > '1' {
			fmt.Sscan(status, &a.Status)
			a.Header = http.Header{}
			for _, h := range f.RegularFields() {
				a.Header.Add(h.Name, h.Value)
			}
		}
		return f.StreamEnded()
	case *http2.DataFrame:
		a.body = append(a.body, f.Data()...)
		return f.StreamEnded()
	case *http2.RSTStreamFrame:
		a.Reset, a.Code = true, f.ErrCode
		return true
	}
	return false
}

// Alive reports whether the connection still serves requests: a PING gets its acknowledgement.
func (w *H2Wire) Alive() error {
	w.Conn.SetReadDeadline(time.Now().Add(Patience))
	if err := w.WritePing(false, [8]byte{'a', 'l', 'i', 'v', 'e'}); err != nil {
		return err
	}
	for {
		f, err := w.ReadFrame()
		if err != nil {
			return err
		}
		switch f := f.(type) {
		case *http2.PingFrame:
			if f.IsAck() {
				return nil
			}
		case *http2.GoAwayFrame:
			return errors.New("GOAWAY " + f.ErrCode.String())
		}
	}
}

// Leave aborts the connection with RST; Close ends it with FIN.
func (w *H2Wire) Leave() {
	under := w.Conn
	if over, ok := under.(*tls.Conn); ok {
		under = over.NetConn()
	}
	under.(*net.TCPConn).SetLinger(0)
	under.Close()
}

// Close ends the connection with FIN.
func (w *H2Wire) Close() { w.Conn.Close() }

// Drain reads until pace closes.
func (w *H2Wire) Drain() { io.Copy(io.Discard, w.Conn) }
