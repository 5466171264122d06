package http2

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// slowReads is a connection from which 100 KB can be read in a second.
type slowReads struct{ net.Conn }

func (s slowReads) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b[:min(len(b), 1000)])
	time.Sleep(time.Duration(n) * 10 * time.Microsecond)
	return n, err
}

// only is a listener that accepts the connections that are sent to it.
type only struct {
	conns chan net.Conn
	over  chan struct{}
}

func (o only) Accept() (net.Conn, error) {
	select {
	case c := <-o.conns:
		return c, nil
	case <-o.over:
		return nil, net.ErrClosed
	}
}

func (o only) Close() error { close(o.over); return nil }
func (only) Addr() net.Addr { return &net.TCPAddr{} }

// A backend that takes a request slowly, but steadily, has not stalled, nor is it late: also over TLS, and for several
// requests at once.
func TestClock_SlowIsNotStalled(t *testing.T) {
	for _, secure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			defer time.Sleep(time.Minute) // until all have noticed the end
			s := &http.Server{Handler: http.HandlerFunc(readsAll), Protocols: new(http.Protocols)}
			s.Protocols.SetHTTP2(true)
			s.Protocols.SetUnencryptedHTTP2(true)
			how, l := Options{ResponseTimeout: 100 * time.Millisecond}, only{make(chan net.Conn), make(chan struct{})}
			how.Dial = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe() // takes nothing that nobody reads
				l.conns <- slowReads{theirs}
				return ours, nil
			}
			if secure {
				trusted := httptest.NewUnstartedServer(nil)
				trusted.StartTLS()
				pair, roots := trusted.TLS.Certificates, trusted.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
				trusted.Close()
				s.TLSConfig = &tls.Config{Certificates: pair}
				how.TLS = (&dial.TLS{Roots: roots}).Config("example.com", "h2")
				go s.ServeTLS(l, "", "")
			} else {
				go s.Serve(l)
			}
			defer s.Close()
			p := NewPool(dial.Address{}, how)
			defer p.Close()
			var done sync.WaitGroup
			for range 3 {
				done.Go(func() {
					req := post(strings.Repeat("x", 200<<10))
					req.ResponseTimeout = time.Second // a write may take longer than the pool's
					if h, body := fetch(t, p, req); h.Status != 200 || body != "hello" {
						t.Errorf("secure %v: %d, %q", secure, h.Status, body)
					}
				})
			}
			done.Wait()
		})
	}
}

// A time that begins in the instant in which the timer fires for the one before runs all the same.
func TestClock_BeginsWhenItHasJustFired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newExchange()
		x.begin(t.Context(), NewPool(dial.Address{}, Options{}), get("/"))
		start := func() {
			x.Mu.Lock()
			defer x.Mu.Unlock()
			x.startLocked(time.Second)
		}
		start()
		x.Mu.Lock()
		x.stopLocked()
		x.Mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		start()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if x.Cause == nil || x.Cause.Kind != transport.ResponseTimeout {
			t.Errorf("%v", x.Cause)
		}
	})
}

// A body that Expect has held back does not take away the time that Next has.
func TestExpect_LeavesTheTimeOfTheBody(t *testing.T) {
	x := newExchange()
	req := post("hello")
	req.Expect = true
	x.begin(t.Context(), NewPool(dial.Address{}, Options{}), req)
	x.Mu.Lock()
	x.Final = true
	x.startLocked(time.Hour)
	x.upload.closeLocked()
	x.Mu.Unlock()
	x.upload.mayProceed()
	if x.until.IsZero() {
		t.Error("Next waits without a limit")
	}
}
