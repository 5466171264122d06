package handshake

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"

	"pace/telemetry"
)

// Failure is a handshake that failed.
type Failure struct {
	Reason telemetry.HandshakeFailure
	Err    error // as crypto/tls says it; for an alert of the client, with that before it
	Offer  Offer
}

// ErrNoCertificate is what [Options.Certificate] returns if there is none for the client.
var ErrNoCertificate = errors.New("no certificate for this name")

// FailureOf finds the reason of err, with which a handshake has failed. crypto/tls does not export each of its errors, so
// three are known by their text; TestFailures_HaveTheirReason holds that to the Go of today.
func FailureOf(err error, offer *Offer) *Failure {
	f := &Failure{Reason: telemetry.HandshakeOther, Err: err, Offer: *offer}
	record, garbled := errors.AsType[tls.RecordHeaderError](err)
	_, unverified := errors.AsType[*tls.CertificateVerificationError](err)
	switch {
	case errors.Is(err, ErrNoCertificate):
		f.Reason = telemetry.HandshakeNoCertificate
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.Reason = telemetry.HandshakeTimeout
	case garbled && looksLikeHTTP(record.RecordHeader):
		f.Reason = telemetry.HandshakePlainHTTP
	case unverified, strings.Contains(err.Error(), "didn't provide a certificate"):
		f.Reason = telemetry.HandshakeClientCertificate
	case strings.Contains(err.Error(), "unsupported versions"):
		f.Reason = telemetry.HandshakeVersion
	case strings.Contains(err.Error(), "no cipher suite"):
		f.Reason = telemetry.HandshakeCipher
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "remote error" {
		f.Err = fmt.Errorf("the client ended the handshake: %w", op.Err)
	}
	return f
}

// looksLikeHTTP reports whether what came in place of a TLS record begins like an HTTP request, as in net/http.
func looksLikeHTTP(h [5]byte) bool {
	return slices.Contains([]string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "PRI *"}, string(h[:]))
}

// Offer is what a client offers in its first message.
type Offer struct {
	Came       bool     // the message came
	Versions   []uint16 // in the client's order, at most maxListed
	ServerName string   // cut to maxName bytes
	Protocols  []string // of ALPN, at most maxListed
	Suites     int      // how many
}

const (
	maxListed = 8
	maxName   = 255
)

func offerOf(hello *tls.ClientHelloInfo) Offer {
	o := Offer{Came: true, Suites: len(hello.CipherSuites), ServerName: hello.ServerName[:min(len(hello.ServerName), maxName)]}
	for _, v := range hello.SupportedVersions[:min(len(hello.SupportedVersions), maxListed)] {
		if v&0x0f0f != 0x0a0a { // of RFC 8701: it means nothing
			o.Versions = append(o.Versions, v)
		}
	}
	for _, p := range hello.SupportedProtos[:min(len(hello.SupportedProtos), maxListed)] {
		o.Protocols = append(o.Protocols, strings.Clone(p[:min(len(p), maxName)]))
	}
	return o
}

// String says what the client offers, for the log. It holds bytes of the client's as they came.
func (o Offer) String() string {
	if !o.Came {
		return "no TLS"
	}
	versions := make([]string, len(o.Versions))
	for i, v := range o.Versions {
		versions[i] = versionNumber(v)
	}
	s := "TLS " + cmp.Or(strings.Join(versions, ", "), "of unknown version") + "; " + strconv.Itoa(o.Suites) + " cipher suites"
	if o.ServerName != "" {
		s += "; server name " + o.ServerName
	}
	if len(o.Protocols) > 0 {
		s += "; protocols " + strings.Join(o.Protocols, ", ")
	}
	return s
}

// versionNumber is a version as OpenTelemetry has it: 1.3.
func versionNumber(v uint16) string {
	name := tls.VersionName(v)
	if number, ok := strings.CutPrefix(name, "TLS "); ok {
		return number
	}
	return name
}
