package front

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// What net/http refuses is seen over TLS as in clear text, HTTP/2 is told to go away at the end, and a request in
// flight ends before.
func TestTLS_IsReadAlong(t *testing.T) {
	refused := make(chan telemetry.Refusal, 10)
	begun, end := make(chan struct{}), make(chan struct{})
	s := NewServer(Options{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if v, _ := ConnOf(r.Context()).TLS(); v != "1.3" || ConnOf(r.Context()).Peer.Scheme != "https" {
				t.Errorf("the connection says TLS %q, scheme %q", v, ConnOf(r.Context()).Peer.Scheme)
			}
			close(begun)
			<-end
			io.WriteString(w, "fine")
		}),
		OnPanic:         func(_ http.ResponseWriter, _ *http.Request, p any, _ string) { t.Error(p) },
		InFlight:        new(InFlight),
		Attach:          func() interface{ Close() } { return nothing{} },
		Refused:         func(why telemetry.Refusal) { refused <- why },
		HandshakeDone:   func(string) {},
		HandshakeFailed: func(why telemetry.HandshakeFailure) { t.Errorf("a handshake failed: %v", why) },
		Log:             slog.New(slog.DiscardHandler),
		Settings:        Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16},
	})
	l, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(l, ListenerSettings{TLS: &handshake.Options{Certificate: anyCertificate(t)}})
	}()
	dial := func(protocol string) *tls.Conn {
		c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(time.Minute))
		return c
	}

	malformed := dial("http/1.1")
	io.WriteString(malformed, "GET / HTTP/1.1\r\nHost: a\r\nno field\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(malformed), nil); err != nil || resp.StatusCode != 400 {
		t.Errorf("got %v, %v, want 400", resp, err)
	}
	if why := <-refused; why != telemetry.RefusedBadRequest {
		t.Errorf("got refused for %v", why)
	}

	tr := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: true}
	defer tr.CloseIdleConnections()
	responded := make(chan error, 1)
	go func() {
		req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+l.Addr().String(), nil)
		if err != nil {
			responded <- err
			return
		}
		resp, err := tr.RoundTrip(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		responded <- err
	}()
	<-begun
	idle := dial("h2")
	f := http2.NewFramer(idle, idle)
	io.WriteString(idle, http2.ClientPreface)
	f.WriteSettings()
	var drain sync.Once
	for goneAway := false; !goneAway; {
		frame, err := f.ReadFrame()
		if err != nil {
			t.Fatalf("no GOAWAY: %v", err)
		}
		switch frame.(type) {
		case *http2.SettingsFrame:
			go drain.Do(func() {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				if err := s.Drain(ctx); err != nil {
					t.Errorf("draining: %v", err)
				}
				served <- nil
			})
		case *http2.GoAwayFrame:
			goneAway = true
		}
	}
	close(end)
	if err := <-responded; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	<-served
	<-served
}

// anyCertificate shows the certificate of package httptest to everybody.
func anyCertificate(t *testing.T) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s := httptest.NewTLSServer(nil)
	t.Cleanup(s.Close)
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &s.TLS.Certificates[0], nil }
}
