package handshake

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"pace/proxy/tcptest"
	"pace/telemetry"
)

// A client gets a connection in clear text, with what was agreed.
func TestConn_CarriesClearText(t *testing.T) {
	client, server := tcptest.Pair(t)
	c := NewTerminator(options(t)).Server(server, func(string) {}, func(f *Failure) { t.Errorf("failed: %+v", f) })
	secure := tls.Client(client, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	go io.WriteString(secure, "hello")
	b := make([]byte, 10)
	n, err := c.Read(b)
	if string(b[:n]) != "hello" || err != nil {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	if c.Version != "1.3" || !strings.HasPrefix(c.Cipher, "TLS_") || c.ConnectionState().NegotiatedProtocol != "h2" {
		t.Errorf("got version %q, cipher %q, protocol %q", c.Version, c.Cipher, c.ConnectionState().NegotiatedProtocol)
	}
}

// HTTP/2 is agreed on only with what RFC 9113 §9.2 allows.
func TestConn_NoHTTP2WithAProhibitedCipher(t *testing.T) {
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: "http/1.1", tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "h2",
	} {
		client, server := tcptest.Pair(t)
		c := NewTerminator(options(t)).Server(server, func(string) {}, func(*Failure) {})
		go c.Read(make([]byte, 1))
		secure := tls.Client(client, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite}, NextProtos: []string{"h2", "http/1.1"}})
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := secure.ConnectionState().NegotiatedProtocol; got != want {
			t.Errorf("%s: got %q, want %q", tls.CipherSuiteName(suite), got, want)
		}
	}
}

// The reason of a failure is found, also where crypto/tls exports no error, and what the client offers is said.
func TestFailures_HaveTheirReason(t *testing.T) {
	hello := func(c *tls.Config) func(net.Conn) {
		c.InsecureSkipVerify = true
		return func(nc net.Conn) { tls.Client(nc, c).Handshake() }
	}
	for _, tt := range []struct {
		name    string
		client  func(net.Conn)
		change  func(*Options)
		want    telemetry.HandshakeFailure
		offered string
	}{
		{"an old version", hello(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}), nil, telemetry.HandshakeVersion, "TLS 1.1, 1.0; "},
		{"below the listener's minimum", hello(&tls.Config{MaxVersion: tls.VersionTLS12}), func(o *Options) { o.MinVersion = tls.VersionTLS13 }, telemetry.HandshakeVersion, "TLS 1.2; "},
		{"no cipher suite", hello(&tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}}), nil, telemetry.HandshakeCipher, "1 cipher suites"},
		{"no certificate", hello(&tls.Config{ServerName: "x.example", NextProtos: []string{"h2"}}), func(o *Options) {
			o.Certificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, ErrNoCertificate }
		}, telemetry.HandshakeNoCertificate, "server name x.example; protocols h2"},
		{"HTTP", func(nc net.Conn) { io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n") }, nil, telemetry.HandshakePlainHTTP, "no TLS"},
		{"no TLS", func(nc net.Conn) { io.WriteString(nc, "\x00\x01\x02\x03\x04\x05\x06\x07") }, nil, telemetry.HandshakeOther, "no TLS"},
		{"silence", func(net.Conn) {}, nil, telemetry.HandshakeTimeout, "no TLS"},
		{"a certificate that the client refuses", func(nc net.Conn) { tls.Client(nc, &tls.Config{ServerName: "a.example"}).Handshake() }, nil, telemetry.HandshakeOther, "server name a.example"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			if tt.change != nil {
				tt.change(&o)
			}
			client, server := tcptest.Pair(t)
			var got []*Failure
			c := NewTerminator(o).Server(server, func(string) {}, func(f *Failure) { got = append(got, f) })
			go tt.client(client)
			if tt.want == telemetry.HandshakeTimeout {
				c.SetReadDeadline(time.Unix(1, 0))
			}
			for range 2 {
				if _, err := c.Read(make([]byte, 1)); err == nil {
					t.Error("it succeeded")
				}
			}
			if strings.Contains(tt.name, "client refuses") && len(got) == 1 && got[0].Err.Error() != "the client ended the handshake: tls: bad certificate" {
				t.Errorf("the error is %q", got[0].Err)
			}
			if len(got) != 1 || got[0].Reason != tt.want || !strings.Contains(got[0].Offer.String(), tt.offered) {
				t.Errorf("got %+v, want one of %v that offered %q", got, tt.want, tt.offered)
			}
		})
	}
}

// Who opens a connection and closes it has not failed a handshake.
func TestFailures_NoneWithoutAByte(t *testing.T) {
	client, server := tcptest.Pair(t)
	client.Close()
	c := NewTerminator(options(t)).Server(server, func(string) {}, func(f *Failure) { t.Errorf("got %+v", f) })
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("it succeeded")
	}
}

// Who speaks HTTP is told so.
func TestPlainHTTP_IsToldSo(t *testing.T) {
	client, server := tcptest.Pair(t)
	c := NewTerminator(options(t)).Server(server, func(string) {}, func(*Failure) {})
	io.WriteString(client, "GET / HTTP/1.1\r\n\r\n")
	c.Read(make([]byte, 1))
	c.Close()
	got, _ := io.ReadAll(client)
	if !strings.HasPrefix(string(got), "HTTP/1.1 400 Bad Request\r\n") || !strings.Contains(string(got), "use https://") {
		t.Errorf("got %q", got)
	}
}

// A ticket from before a change still resumes the session.
func TestChange_KeepsTheTickets(t *testing.T) {
	o := options(t)
	term := NewTerminator(o)
	cache := tls.NewLRUClientSessionCache(1)
	for i := range 2 {
		client, server := tcptest.Pair(t)
		c := term.Server(server, func(string) {}, func(f *Failure) { t.Errorf("failed: %+v", f) })
		go func() {
			c.Read(make([]byte, 1))
			io.WriteString(c, "x") // after it the client has the ticket
		}()
		secure := tls.Client(client, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, ClientSessionCache: cache})
		io.WriteString(secure, "x")
		if _, err := secure.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if got := secure.ConnectionState().DidResume; got != (i == 1) {
			t.Errorf("connection %d: resumed %v", i, got)
		}
		term.Change(o)
	}
}

func options(t *testing.T) Options {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"a.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return Options{Certificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c, nil }}
}

// A certificate authority that validates a name gets the certificate of its challenge, also where clients must show
// one and nothing below version 1.3 is taken, and the connection ends with the handshake, which has not failed.
// Nobody else gets that certificate.
func TestChallenge_EndsWithTheHandshake(t *testing.T) {
	o, challenge := options(t), options(t)
	o.Client, o.MinVersion = authRequire, tls.VersionTLS13
	o.Challenge = func(name string) *tls.Certificate {
		if name != "a.example" {
			return nil
		}
		c, _ := challenge.Certificate(nil)
		return c
	}
	want, _ := challenge.Certificate(nil)
	for _, tt := range []struct {
		name      string
		protocols []string
		failed    bool
	}{
		{"a.example", []string{"acme-tls/1"}, false},
		{"b.example", []string{"acme-tls/1"}, true},
		{"a.example", []string{"acme-tls/1", "h2"}, true}, // a client without a certificate
	} {
		client, server := tcptest.Pair(t)
		var failed *Failure
		c := NewTerminator(o).Server(server, func(string) {}, func(f *Failure) { failed = f })
		server.SetReadDeadline(time.Now().Add(10 * time.Second))
		read := make(chan error, 1)
		go func() {
			_, err := c.Read(make([]byte, 1))
			read <- err
			server.Close()
		}()
		secure := tls.Client(client, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, NextProtos: tt.protocols, MaxVersion: tls.VersionTLS12})
		if tt.failed {
			secure = tls.Client(client, &tls.Config{ServerName: tt.name, InsecureSkipVerify: true, NextProtos: tt.protocols})
		}
		err := secure.Handshake()
		if !tt.failed && (err != nil || !bytes.Equal(secure.ConnectionState().PeerCertificates[0].Raw, want.Certificate[0])) {
			t.Errorf("%+v: got %v, and not the certificate of the challenge", tt, err)
		}
		if err := <-read; (failed != nil) != tt.failed || !tt.failed && err != io.EOF {
			t.Errorf("%+v: the read ends with %v, failure %+v", tt, err, failed)
		}
	}
}
