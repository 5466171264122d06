package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// wire is what a scenario speaks on both sides of a proxy.
type wire struct {
	TLS bool // with clients, who then get HTTP/2 if they ask for it; else HTTP/1.1 in clear text
	H2C bool // HTTP/2 in clear text with the backend; else HTTP/1.1
	H3  bool // HTTP/3 with clients as well, on the UDP port of the same number
}

// target is where requests are sent.
type target struct {
	addr string
	tls  *tls.Config // nil: clear text
}

// dial opens a connection, and makes its handshake.
func (t target) dial(protocol string) (net.Conn, error) {
	if t.tls == nil {
		return net.Dial("tcp", t.addr)
	}
	config := t.tls.Clone()
	config.NextProtos = []string{protocol}
	conn, err := tls.Dial("tcp", t.addr, config)
	if err != nil {
		return nil, err
	}
	if got := conn.ConnectionState().NegotiatedProtocol; got != protocol {
		conn.Close()
		return nil, errors.New("the peer chose the protocol " + got + " instead of " + protocol)
	}
	return conn, nil
}

// identity is the certificate that all peers show.
type identity struct {
	cert, key []byte // PEM
	trust     *tls.Config
}

// newIdentity makes a certificate for the loopback address. trust is how clients handshake: TLS 1.3 without
// resumption, and with a key exchange that OpenSSL 3.0 has, too; by default Go's would add ML-KEM.
func newIdentity() (*identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	plan := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err1 := x509.CreateCertificate(rand.Reader, plan, plan, &key.PublicKey, key)
	private, err2 := x509.MarshalPKCS8PrivateKey(key)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	id := &identity{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(id.cert)
	id.trust = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.X25519}}
	return id, nil
}

// The files of an identity, in the folder of a peer.
const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
	pairFile = "pair.pem" // both, for HAProxy
)

func (id *identity) write(dir string) error {
	return errors.Join(
		os.WriteFile(filepath.Join(dir, certFile), id.cert, 0o600),
		os.WriteFile(filepath.Join(dir, keyFile), id.key, 0o600),
		os.WriteFile(filepath.Join(dir, pairFile), append(id.cert[:len(id.cert):len(id.cert)], id.key...), 0o600),
	)
}
