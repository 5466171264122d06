package telemetry

import (
	"slices"
	"time"
)

// HandshakeFailure is why a TLS handshake with a client failed.
type HandshakeFailure uint8

// The reasons of pace_tls_handshake_failures_total.
const (
	HandshakeNoCertificate     HandshakeFailure = iota // there is none for the name that the client asks for
	HandshakeClientCertificate                         // the client's is missing, or not accepted
	HandshakeVersion                                   // the client has only versions that are too old
	HandshakeCipher                                    // no cipher suite in common
	HandshakePlainHTTP                                 // the client speaks HTTP without TLS
	HandshakeTimeout                                   // it was not over in time
	HandshakeOther
	handshakeFailureCount
)

var handshakeFailures = [handshakeFailureCount]string{"no_certificate", "client_certificate", "version", "cipher", "plain_http", "timeout", "other"}

// String returns the word of the reason.
func (f HandshakeFailure) String() string { return handshakeFailures[f] }

// HandshakeFailureWords returns the words of all reasons, in their order.
func HandshakeFailureWords() []string { return handshakeFailures[:] }

// HandshakeFailed counts a handshake that failed.
func (s *State) HandshakeFailed(why HandshakeFailure) { s.failed[why].Add(1) }

// HandshakeFailures returns how many handshakes failed for this reason.
func (s *State) HandshakeFailures(why HandshakeFailure) int64 { return s.failed[why].Load() }

// ACMEFailed counts an attempt to get or renew a certificate that failed.
func (s *State) ACMEFailed() { s.acmeFailed.Add(1) }

// ACMEFailures returns how many attempts to get or renew a certificate failed.
func (s *State) ACMEFailures() int64 { return s.acmeFailed.Load() }

// handshakeVersions are the versions of TLS that clients may speak, as OpenTelemetry names them.
var handshakeVersions = [...]string{"1.2", "1.3"}

// HandshakeVersions returns the versions of TLS that clients may speak.
func HandshakeVersions() []string { return handshakeVersions[:] }

// HandshakeDone counts a handshake that was completed, by the version of TLS.
func (s *State) HandshakeDone(version string) {
	if i := slices.Index(handshakeVersions[:], version); i >= 0 {
		s.handshakes[i].Add(1)
	}
}

// Handshakes returns how many handshakes were completed with the nth of HandshakeVersions.
func (s *State) Handshakes(nth int) int64 { return s.handshakes[nth].Load() }

// CertificateState is what a certificate reports about itself.
type CertificateState struct {
	Name     string
	NotAfter time.Time
	FromFile bool  // it is read again when it changes
	Failures int64 // how often its files had changed and could not be used
}

// WatchCertificates sets the function that returns the certificates that pace shows to its clients.
func (s *State) WatchCertificates(read func() []CertificateState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certificates = read
}

// Certificates returns the state of each certificate.
func (s *State) Certificates() []CertificateState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.certificates == nil {
		return nil
	}
	return s.certificates()
}
