package contract

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"pace/e2e/pacetest"
)

// What quic-go refuses over HTTP/3, or pace before its handler, is counted by its reason, and reaches no backend. The
// connection of a request that is malformed goes on.
func TestH3_RefusedRequests(t *testing.T) {
	t.Parallel()
	with := func(pairs ...string) []byte { return h3Head(pairs...)() }
	for _, tt := range []struct {
		name   string
		frames []byte
		reason string
		status string // that the client gets; "": the stream is reset
		last   bool   // on its connection
	}{
		{"a header a little over the limit", with("x", strings.Repeat("x", 9<<10)), "header_too_large", "431", false},
		{"a header far over the limit", with("x", strings.Repeat("x", 200<<10)), "header_too_large", "431", false},
		{"a name in upper case", with("X-Name", "1"), "h3_error", "", false},
		{"a field of the connection", with("connection", "close"), "h3_error", "", false},
		{"two lengths", with("content-length", "1", "content-length", "2"), "h3_error", "", false},
		{"a line feed in a value", with("x", "a\nb"), "h3_error", "", false},
		{"no path", pacetest.H3Headers(":method", "GET", ":scheme", "https", ":authority", "pace.test"), "h3_error", "", false},
		{"data before the header", pacetest.H3Data("hello"), "h3_error", "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			ca := pacetest.NewCA(t)
			p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "max_header_bytes", 8<<10))
			p.WantMetric(0, "pace_refused_total", "reason", tt.reason)
			w := ca.H3Wire(p.Proxy, "pace.test")
			s := w.Stream(tt.frames)
			got, err := io.ReadAll(s)
			if _, reset := errors.AsType[*quic.StreamError](err); reset != (tt.status == "") && !tt.last {
				t.Errorf("the stream got %q, %v", got, err)
			}
			p.WantMetric(1, "pace_refused_total", "reason", tt.reason)
			p.WantMetric(1, "pace_refused_total")
			if !tt.last {
				ok := w.Stream(h3Head()())
				ok.Close()
				if got, err := io.ReadAll(ok); err != nil || len(got) == 0 {
					t.Errorf("the next request got %q, %v", got, err)
				}
				b.WantGot(1, "/x")
				p.WantMetric(1, "pace_refused_total")
			}
			if n := len(b.Requests()); n > 1 || tt.last && n > 0 {
				t.Errorf("the backend got %d requests", n)
			}
		})
	}
}

// dialH3 makes a handshake from an address, which may be "".
func dialH3(t *testing.T, addr, from string, c *tls.Config) (*quic.Conn, error) {
	t.Helper()
	local := &net.UDPAddr{IP: net.ParseIP(from)}
	if from == "" {
		local = nil
	}
	udp, err := net.ListenUDP("udp4", local)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	to, err := net.ResolveUDPAddr("udp4", addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	conn, err := quic.Dial(ctx, udp, to, c, nil)
	if err == nil {
		t.Cleanup(func() { conn.CloseWithError(0, "") })
	}
	return conn, err
}

// h3Config is what a client of the CA's does for HTTP/3.
func h3Config(ca *pacetest.CA, name string) *tls.Config {
	c := ca.Config(name)
	c.NextProtos = []string{http3.NextProtoH3}
	return c
}

// A handshake over QUIC that fails is counted by its reason, and logged with what the client offers.
func TestH3_Handshakes(t *testing.T) {
	t.Parallel()
	ca, clients := pacetest.NewCA(t), pacetest.NewCA(t)
	for _, tt := range []struct {
		reason, offered string
		listener        pacetest.Table
		dial            func(t *testing.T, addr string)
	}{
		{"no_certificate", "server name other.test; protocols h3", pacetest.Table{"strict_sni": true}, func(t *testing.T, addr string) {
			if _, err := dialH3(t, addr, "", h3Config(ca, "other.test")); err == nil {
				t.Error("a name without a certificate got one")
			}
		}},
		{"client_certificate", "server name pace.test", pacetest.Table{"client_auth": "require", "client_ca": clients.File()}, func(t *testing.T, addr string) {
			conn, err := dialH3(t, addr, "", h3Config(ca, "pace.test"))
			if err == nil { // the client is done before the server
				<-conn.Context().Done()
			}
		}},
		{"other", "protocols other", nil, func(t *testing.T, addr string) {
			c := h3Config(ca, "pace.test")
			c.NextProtos = []string{"other"}
			if _, err := dialH3(t, addr, "", c); err == nil {
				t.Error("another protocol was agreed on")
			}
		}},
		{"other", "server name pace.test", nil, func(t *testing.T, addr string) { // the client refuses the certificate
			if _, err := dialH3(t, addr, "", h3Config(pacetest.NewCA(t), "pace.test")); err == nil {
				t.Error("the client took the certificate")
			}
		}},
		{"timeout", "", nil, func(t *testing.T, addr string) { // the client hears nothing, and says no more
			to, _ := net.ResolveUDPAddr("udp4", addr)
			udp, err := net.ListenUDP("udp4", nil)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			quic.Dial(ctx, deaf{udp}, to, h3Config(ca, "pace.test"), nil)
		}},
	} {
		t.Run(tt.reason+" "+tt.offered, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			c := overH3(upstreams(b), ca.Issue("pace.test"))
			if tt.reason == "timeout" {
				c = set(c, "server", "read_header_timeout", "1s")
			}
			maps.Copy(c["listener.a"], tt.listener)
			p := pacetest.Start(t, c)
			tt.dial(t, p.Proxy)
			p.WantMetric(1, "pace_tls_handshake_failures_total", "reason", tt.reason)
			p.WantMetric(1, "pace_refused_total", "reason", "tls_handshake")
			p.WantMetric(0, "pace_tls_handshakes_total", "tls_protocol_version", "1.3")
			lines := p.AwaitLines(1, "refused a client's request or connection")
			if len(lines) != 1 || lines[0].Text("why") != tt.reason || !strings.Contains(lines[0].Text("offered"), tt.offered) || lines[0].Text("peer") == "" {
				t.Errorf("the lines say %v", lines)
			}
		})
	}
}

// deaf is a socket that hears nothing.
type deaf struct{ *net.UDPConn }

// ReadFrom implements net.PacketConn. It drops what comes.
func (d deaf) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if _, _, err := d.UDPConn.ReadFrom(p); err != nil {
			return 0, nil, err
		}
	}
}

// SyscallConn keeps quic-go from reading past it.
func (d deaf) SyscallConn() {}

// A connection over a limit is refused and counted; one that ends makes room. TCP and UDP count together.
func TestH3_ConnectionLimits(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"max_connections", "max_connections_per_client"} {
		t.Run(key, func(t *testing.T) {
			t.Parallel()
			b := pacetest.NewBackend(t, pacetest.Fine)
			ca := pacetest.NewCA(t)
			p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", key, 2))
			tcp, err := tls.Dial("tcp", p.Proxy, ca.Config("pace.test"))
			if err != nil {
				t.Fatal(err)
			}
			defer tcp.Close()
			first, err := dialH3(t, p.Proxy, "", h3Config(ca, "pace.test"))
			if err != nil {
				t.Fatal(err)
			}
			over, err := dialH3(t, p.Proxy, "", h3Config(ca, "pace.test"))
			if key == "max_connections" {
				if e, ok := errors.AsType[*quic.TransportError](err); !ok || e.ErrorCode != quic.ConnectionRefused {
					t.Errorf("the connection over the limit got %v", err)
				}
			} else { // only the end of the handshake shows whose it is
				<-over.Context().Done()
				if e, ok := errors.AsType[*quic.ApplicationError](context.Cause(over.Context())); !ok || http3.ErrCode(e.ErrorCode) != http3.ErrCodeExcessiveLoad {
					t.Errorf("the connection over the limit got %v", context.Cause(over.Context()))
				}
				if _, err := dialH3(t, p.Proxy, "127.0.0.9", h3Config(ca, "pace.test")); err != nil {
					t.Errorf("another client was refused: %v", err)
				}
			}
			wantTooMany(t, p, 1, "server."+key)
			first.CloseWithError(0x100, "")
			pacetest.Eventually(t, func() error {
				got := pacetest.Do(ca.H3("pace.test").Client, h3Request(t, p, "GET", "/x", nil))
				if got.Status != 200 {
					return fmt.Errorf("status %d, %v", got.Status, got.Err)
				}
				return nil
			})
		})
	}
}

// A client may open as many streams as max_streams says.
func TestH3_MaxStreams(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(b), ca.Issue("pace.test")), "server", "max_streams", 3))
	w := ca.H3Wire(p.Proxy, "pace.test")
	for range 3 {
		w.Stream(h3Head()()).Close()
	}
	if _, err := w.OpenStream(); err == nil {
		t.Error("a fourth stream was opened")
	}
	close(open)
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	if _, err := w.OpenStreamSync(ctx); err != nil {
		t.Errorf("no stream after the responses: %v", err)
	}
}

// h3Cancels opens n streams one after the other, each with a request that the client then gives up by act. It returns
// what ended the connection, nil if it lasts.
func h3Cancels(t *testing.T, w *pacetest.H3Wire, n int, act func(*quic.Stream)) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*pacetest.Patience)
	defer cancel()
	header := h3Head()()
	for range n {
		s, err := w.OpenStreamSync(ctx)
		if err != nil {
			return cmp.Or(context.Cause(w.Context()), err)
		}
		s.Write(header)
		act(s)
	}
	return nil
}

// A client that gives up its requests as fast as it can is a flood: its connection ends, which is counted once. A client that cancels 300 is not.
func TestH3_Floods(t *testing.T) {
	t.Parallel()
	stopped := func(s *quic.Stream) {
		s.Close()
		s.CancelRead(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
	}
	var begun []*quic.Stream
	reset := func(s *quic.Stream) { // ten at once, for on a busy machine each pause takes long
		s.Write(pacetest.H3Data("some"))
		if begun = append(begun, s); len(begun) < 10 {
			return
		}
		time.Sleep(5 * time.Millisecond) // or the resets overtake the headers
		for _, s := range begun {
			s.CancelWrite(quic.StreamErrorCode(http3.ErrCodeRequestCanceled))
		}
		begun = begun[:0]
	}
	for _, tt := range []struct {
		name  string
		n     int
		act   func(*quic.Stream)
		flood float64
	}{
		{"responses that are stopped", 3000, stopped, 1},
		{"requests that are reset", 10_000, reset, 1},
		{"300 responses that are stopped", 300, stopped, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			open := make(chan struct{})
			b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
			t.Cleanup(func() { close(open) })
			ca := pacetest.NewCA(t)
			p := pacetest.Start(t, overH3(upstreams(b), ca.Issue("pace.test")))
			other := ca.H3Wire(p.Proxy, "pace.test")
			w := ca.H3Wire(p.Proxy, "pace.test")
			err := h3Cancels(t, w, tt.n, tt.act)
			if tt.flood == 0 {
				if err != nil {
					t.Errorf("the connection ended: %v", err)
				}
				p.WantMetric(0, "pace_connections", "state", "active")
				p.WantMetric(0, "pace_refused_total", "reason", "flood")
				return
			}
			if e, ok := errors.AsType[*quic.ApplicationError](err); !ok || http3.ErrCode(e.ErrorCode) != http3.ErrCodeExcessiveLoad {
				t.Errorf("the connection ended with %v, want H3_EXCESSIVE_LOAD", err)
			}
			p.WantMetric(tt.flood, "pace_refused_total", "reason", "flood")
			var words []string
			for _, line := range p.AwaitLines(1, "refused a client's request or connection") {
				words = append(words, line.Text("reason")+": "+line.Text("flood"))
			}
			// A reset that overtakes its header is a malformed request, and there is at most one line a second.
			if !slices.Contains(words, "flood: cancelled requests") && !slices.Contains(words, "h3_error: ") {
				t.Errorf("the lines say %q", words)
			}
			if err := context.Cause(other.Context()); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

// pace holds no more of a header than max_header_bytes and 4 KiB, and says so to clients.
func TestH3_SaysHowLargeHeadersMayBe(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	p := pacetest.Start(t, set(overH3(upstreams(pacetest.NewBackend(t, pacetest.Fine)), ca.Issue("pace.test")), "server", "max_header_bytes", 8<<10))
	r := bufio.NewReader(ca.H3Wire(p.Proxy, "pace.test").Control())
	if kind, err := r.ReadByte(); kind != 0 || err != nil {
		t.Fatalf("the first stream is of type %d, %v", kind, err)
	}
	_, settings, err := pacetest.H3Frame(r)
	if err != nil {
		t.Fatal(err)
	}
	const maxFieldSectionSize = 6
	got := map[uint64]uint64{}
	for r := bytes.NewReader(settings); r.Len() > 0; {
		id, _ := quicvarint.Read(r)
		got[id], _ = quicvarint.Read(r)
	}
	if got[maxFieldSectionSize] != 12<<10 {
		t.Errorf("SETTINGS say %v, want 12 KiB of header", got)
	}
}
