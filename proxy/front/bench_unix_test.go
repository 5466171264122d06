//go:build unix

package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"pace/proxy/front/handshake"
	"pace/telemetry"
)

// BenchmarkHandshake is a connection over TLS 1.3 with a whole handshake, one request and its response, one at a
// time. Beside a Server stand net/http's own TLS, and crypto/tls without HTTP, which is the floor.
func BenchmarkHandshake(b *testing.B) {
	fine := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })
	certificate := smallCertificate(b)
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	b.Run("impl=front", func(b *testing.B) {
		s := NewServer(Options{
			Handler:       fine,
			InFlight:      new(InFlight),
			Attach:        func() interface{ Close() } { return nothing{} },
			Refused:       func(why telemetry.Refusal) { b.Errorf("refused: %v", why) },
			HandshakeDone: func(string) {},
			Log:           slog.New(slog.DiscardHandler),
			Settings:      Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16},
		})
		l, err := Listen("127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		shown := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &certificate, nil }
		go s.Serve(l, ListenerSettings{TLS: &handshake.Options{Certificate: shown}})
		defer s.Drain(b.Context())
		connectAndAsk(b, l.Addr().String())
	})
	b.Run("impl=net/http", func(b *testing.B) {
		l := listenLocal(b)
		s := &http.Server{Handler: fine, TLSConfig: config.Clone()}
		go s.ServeTLS(l, "", "")
		defer s.Close()
		connectAndAsk(b, l.Addr().String())
	})
	b.Run("impl=crypto-tls", func(b *testing.B) {
		l := listenLocal(b)
		defer l.Close()
		go respondToAll(tls.NewListener(l, config))
		connectAndAsk(b, l.Addr().String())
	})
}

// connectAndAsk sends each request on a connection of its own. The client's CPU is in the figure; unlike the
// time, it says something on a busy machine.
func connectAndAsk(b *testing.B, address string) {
	config := &tls.Config{
		InsecureSkipVerify: true, CurvePreferences: []tls.CurveID{tls.X25519}, NextProtos: []string{"http/1.1"},
	}
	response := make([]byte, 1<<10)
	b.ReportAllocs()
	before := cpu()
	defer func() { b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op") }()
	for b.Loop() {
		c, err := tls.Dial("tcp", address, config)
		if err != nil {
			b.Fatal(err)
		}
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := c.Read(response); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// respondToAll sends the same bytes for whatever comes.
func respondToAll(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			for request := make([]byte, 1<<10); err == nil; {
				if _, err = c.Read(request); err == nil {
					_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
				}
			}
		}()
	}
}

func listenLocal(b *testing.B) net.Listener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return l
}

// smallCertificate has a key of ECDSA: a signature with the key of package httptest, one of RSA, would take
// more than all else.
func smallCertificate(b *testing.B) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
