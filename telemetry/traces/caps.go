package traces

import (
	"sync"
	"time"

	"pace/telemetry"
)

// KeepOptions say whether the traces of interesting exchanges are kept, and how many.
type KeepOptions struct {
	Enabled   bool
	PerSecond int // kept within any second, at most; 0: no bound
	PerReason int // the same, for each reason; 0: no bound
}

// caps decide which of the traces that are interesting may be kept. In a storm of one kind of failure,
// the rare other failure is the trace that somebody needs. So the first of a kind within a second is kept
// beyond the caps: in all, PerSecond more are. If even these are used up, the routes that were turned away
// are served before those that had more of their traces kept. Safe for concurrent use.
type caps struct {
	KeepOptions

	mu       sync.Mutex // guards what follows
	recent   []kept     // within the last second, in order of time; at most 2 × PerSecond, if that is a bound
	within   int        // of recent, those that the caps allowed
	beyond   int        // of recent, those beyond the caps
	ofReason [telemetry.KeepReasonCount]int
	ofKind   map[kind]int
	ofRoute  map[string]int       // ever kept
	starved  map[string]time.Time // when a route's first of a kind was turned away
}

// kind is what traces have in common of which one is enough to understand the others.
type kind struct {
	reason telemetry.KeepReason
	route  string
}

type kept struct {
	kind
	at     time.Time
	beyond bool // the caps
}

func newCaps(o KeepOptions) *caps {
	return &caps{KeepOptions: o, ofKind: map[kind]int{}, ofRoute: map[string]int{}, starved: map[string]time.Time{}}
}

// allow reports whether one more trace may be kept now, and counts it if so.
func (c *caps) allow(reason telemetry.KeepReason, route string) bool {
	if c.PerSecond == 0 && c.PerReason == 0 {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	c.forget(now.Add(-time.Second))
	this := kept{kind{reason, route}, now, false}
	switch {
	case (c.PerSecond == 0 || c.within < c.PerSecond) && (c.PerReason == 0 || c.ofReason[reason] < c.PerReason):
	case c.ofKind[this.kind] > 0:
		return false
	case c.PerSecond > 0 && c.beyond >= c.PerSecond, !c.turnOf(route, now):
		c.starved[route] = now
		return false
	default:
		this.beyond = true
	}
	c.count(this, 1)
	c.recent = append(c.recent, this)
	c.ofRoute[route]++
	delete(c.starved, route)
	return true
}

// forget forgets what was kept until the moment.
func (c *caps) forget(until time.Time) {
	old := 0
	for old < len(c.recent) && !c.recent[old].at.After(until) {
		c.count(c.recent[old], -1)
		old++
	}
	if old > 0 {
		c.recent = append(c.recent[:0], c.recent[old:]...)
	}
}

// count adds n traces like this one.
func (c *caps) count(this kept, n int) {
	if c.ofKind[this.kind] += n; c.ofKind[this.kind] == 0 {
		delete(c.ofKind, this.kind)
	}
	if this.beyond {
		c.beyond += n
		return
	}
	c.within += n
	c.ofReason[this.reason] += n
}

// turnOf reports whether no route that waits had fewer traces kept than this one. A route that has not been
// turned away for a second waits no more.
func (c *caps) turnOf(route string, now time.Time) bool {
	for other, at := range c.starved {
		switch {
		case now.Sub(at) >= time.Second:
			delete(c.starved, other)
		case c.ofRoute[other] < c.ofRoute[route]:
			return false
		}
	}
	return true
}
