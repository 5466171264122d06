package telemetry

import (
	"sync"
	"time"
)

// Phase is what an exchange does at an instant. It is always in exactly one.
type Phase uint8

// The phases, in the order in which a request usually walks through them.
const (
	Own         Phase = iota // pace itself is at work
	ReadRequest              // waiting for the next bytes of the request's body
	Limit                    // waiting for a limiter
	Pick                     // waiting for a backend to be free
	DNS                      // resolving a backend's name
	Connect                  // connecting to a backend
	TLS                      // making the TLS handshake with a backend
	Send                     // writing the request to the backend
	Wait                     // waiting for the response's header
	Receive                  // waiting for the next bytes of the response's body
	Deliver                  // writing to the client
	PhaseCount
)

var phaseWords = [PhaseCount]string{"own", "read_request", "limit", "pick", "dns", "connect", "tls", "send", "wait", "receive", "deliver"}

// String returns the word of the phase.
func (p Phase) String() string { return phaseWords[p] }

// clock divides an exchange's time among its phases without gap or overlap:
// sum(spent) == since - start, always. It also holds what other goroutines may ask about a running exchange.
type clock struct {
	mu      sync.Mutex // a request's body is sent concurrently with the wait for the response
	spent   [PhaseCount]time.Duration
	present Present
}

// Present is what an exchange in flight does at an instant.
type Present struct {
	Phase    Phase
	Since    time.Time // when the phase began
	Backend  string    // host:port of the present attempt; "" if there was none
	Attempts int       // begun so far
	Stream   StreamKind
}

func (c *clock) start(at time.Time) {
	c.spent, c.present = [PhaseCount]time.Duration{}, Present{Since: at}
}

// enter ends the present phase at this moment and begins p.
func (c *clock) enter(p Phase) time.Time {
	at := time.Now()
	c.mu.Lock()
	c.spent[c.present.Phase] += at.Sub(c.present.Since)
	c.present.Phase, c.present.Since = p, at
	c.mu.Unlock()
	return at
}

// attempt notes that an attempt at backend begins.
func (c *clock) attempt(backend string) time.Time {
	c.mu.Lock()
	c.present.Backend = backend
	c.present.Attempts++
	c.mu.Unlock()
	return c.enter(Own)
}

// become notes that the exchange is a stream now.
func (c *clock) become(k StreamKind) {
	c.mu.Lock()
	c.present.Stream = k
	c.mu.Unlock()
}

func (c *clock) now() Present {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.present
}

// in returns how long the exchange has been in a phase, without the current one.
func (c *clock) in(p Phase) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spent[p]
}

// phases returns how long the exchange has been in each phase, without the time since the present one began.
func (c *clock) phases() [PhaseCount]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.spent
}
