package telemetry

import (
	"sync"
	"time"
)

// Phase is what an exchange is busy with. At each instant it is in exactly one.
type Phase uint8

// The phases, in the order in which a request usually walks through them.
const (
	Own         Phase = iota // pace itself is at work
	ReadRequest              // waiting for the next bytes of the request's body
	Limit                    // waiting for a limiter
	Pick                     // waiting for a backend to be free
	Connect                  // resolving and connecting
	Send                     // writing the request to the backend
	Wait                     // waiting for the response's header
	Receive                  // waiting for the next bytes of the response's body
	Deliver                  // writing to the client
	phaseCount
)

var phaseWords = [phaseCount]string{"own", "read_request", "limit", "pick", "connect", "send", "wait", "receive", "deliver"}

// String returns the word of the phase.
func (p Phase) String() string { return phaseWords[p] }

// clock divides an exchange's time among its phases without gap or overlap:
// sum(spent) == last - start, always.
type clock struct {
	mu    sync.Mutex // a request's body is sent beside the wait for its answer
	now   Phase
	last  time.Time
	spent [phaseCount]time.Duration
}

func (c *clock) start(at time.Time) {
	c.now, c.last, c.spent = Own, at, [phaseCount]time.Duration{}
}

// enter ends the present phase at this moment and begins p.
func (c *clock) enter(p Phase) time.Time {
	at := time.Now()
	c.mu.Lock()
	c.spent[c.now] += at.Sub(c.last)
	c.now, c.last = p, at
	c.mu.Unlock()
	return at
}

// at returns the present phase and how long the exchange has run in it.
func (c *clock) at(now time.Time) (Phase, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, now.Sub(c.last)
}
