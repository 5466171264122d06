package telemetry

import (
	"sync"
	"sync/atomic"
)

// State is what pace can report about itself at any time, other than records. It is counted here, or read
// from where it is kept when a signal asks. The zero value works. Safe for concurrent use.
type State struct {
	refused [refusalCount]atomic.Int64
	failed  [handshakeFailureCount]atomic.Int64

	handshakes [len(handshakeVersions)]atomic.Int64

	reloads reloads

	acmeFailed atomic.Int64
	copies     Losses

	mu     sync.Mutex // guards what follows, which a reload may replace
	conns  func() (active, idle int)
	limits map[string]LimiterState  // replaced, never changed
	pools  map[string]UpstreamState // the same

	certificates func() []CertificateState
	backends     func() []BackendState
}

// Refusal is why a request or a connection was refused: turned away before the handler.
type Refusal uint8

// The reasons of pace_refused_total.
const (
	RefusedBadRequest Refusal = iota
	RefusedHeaderTooLarge
	RefusedHeaderTimeout
	RefusedUnsupported
	RefusedTLSHandshake
	RefusedH2Error
	RefusedH3Error
	RefusedProxyHeader
	RefusedTooManyConnections
	RefusedFlood
	refusalCount
)

var refusals = [refusalCount]string{"bad_request", "header_too_large", "header_timeout", "unsupported", "tls_handshake", "h2_error", "h3_error", "proxy_header", "too_many_connections", "flood"}

// String returns the word of the reason.
func (r Refusal) String() string { return refusals[r] }

// RefusalWords returns the words of all reasons, in their order.
func RefusalWords() []string { return refusals[:] }

// Refused counts one refusal.
func (s *State) Refused(why Refusal) { s.refused[why].Add(1) }

// Refusals returns how many requests and connections were refused for this reason.
func (s *State) Refusals(why Refusal) int64 { return s.refused[why].Load() }

// LostCopies counts the copies of requests that no mirror got.
func (s *State) LostCopies() *Losses { return &s.copies }

// LimiterState is what a limiter reports about itself.
type LimiterState struct {
	Keys    func() int
	Evicted func() uint64
}

// UpstreamState is what an upstream reports about itself.
type UpstreamState struct {
	// Checks returns how many checks of backends have passed and failed. ok is false if there are none.
	Checks     func() (passed, failed int64, ok bool)
	PanicPicks func() int64 // picks although no backend might be picked
}

// The results of checks.
const (
	CheckPassed = "passed"
	CheckFailed = "failed"
)

// WatchUpstreams sets the upstreams whose state is published, by name.
func (s *State) WatchUpstreams(of map[string]UpstreamState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools = of
}

// Upstreams returns the state of each upstream.
func (s *State) Upstreams() map[string]UpstreamState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pools
}

// WatchConnections sets the function that returns the number of client connections.
func (s *State) WatchConnections(read func() (active, idle int)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns = read
}

// WatchLimiters sets the limiters whose state is published, by the name of their policy.
func (s *State) WatchLimiters(of map[string]LimiterState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits = of
}

// Connections returns the number of client connections.
func (s *State) Connections() (active, idle int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		return 0, 0
	}
	return s.conns()
}

// Limiters returns the state of each policy.
func (s *State) Limiters() map[string]LimiterState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits
}

// BackendState is what is known of a backend at one instant. A backend that leaves the configuration, or whose name
// resolves to other addresses, is no longer among them.
type BackendState struct {
	Upstream string
	Host     string  // or the path of a unix socket
	Port     int     // 0: a unix socket has none
	InFlight int     // requests, streams included
	Open     int     // connections, with idle ones and those of streams
	Idle     int     // connections that wait for a request
	Up       bool    // it may be picked
	Changes  []int64 // how often it came into each state, in the order of [BackendStates]
}

// BackendStates are the states in which a backend can be: the words of package health.
var BackendStates = []string{"healthy", "starting", "unhealthy", "ejected", "drained"}

// WatchBackends sets the function that returns the state of each backend.
func (s *State) WatchBackends(read func() []BackendState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backends = read
}

// Backends returns the state of each backend.
func (s *State) Backends() []BackendState {
	s.mu.Lock()
	read := s.backends
	s.mu.Unlock()
	if read == nil {
		return nil
	}
	return read()
}
