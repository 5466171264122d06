package limiter

import (
	"sort"
	"time"
)

// places remembers when a key was let pass, the last Max times: a ring in order of time
// that grows on demand. Times count from the window's start.
type places struct {
	at    []time.Duration // len(at) <= Max
	first uint32          // the oldest; 0 until len(at) == Max
}

// take takes a place at now if one is free: the one that was taken longest ago is, or none.
//
// Each slot of the ring is one place, taken again only at per or more after the time in it.
// Callers race, so now may lie before times already noted: it is compared as it is, but
// noted no earlier than the newest, which keeps the ring in order. A time noted is thus
// never before the one passed, and each place is taken once at most in any span of per.
func (p *places) take(now time.Duration, limit int, per time.Duration) Decision {
	denied := len(p.at) == limit && p.at[p.first]+per > now
	if !denied {
		p.note(now, limit)
	}
	d := Decision{Denied: denied, Limit: limit, Remaining: limit - p.held(now, per)}
	if d.Remaining == 0 {
		d.Reset = p.at[p.first] + per - now
	}
	return d
}

// note adds now to the ring, in place of the oldest time if the ring is full.
func (p *places) note(now time.Duration, limit int) {
	if len(p.at) > 0 {
		now = max(now, p.newest())
	}
	if len(p.at) == limit {
		p.at[p.first] = now
		p.first = (p.first + 1) % uint32(limit)
		return
	}
	if len(p.at) == cap(p.at) { // append alone would grow beyond limit
		at := make([]time.Duration, len(p.at), min(max(2*len(p.at), 2), limit))
		copy(at, p.at)
		p.at = at
	}
	p.at = append(p.at, now)
}

// newest is the time noted last; there must be one.
func (p *places) newest() time.Duration {
	return p.nth(len(p.at) - 1)
}

// nth is the time with n older ones.
func (p *places) nth(n int) time.Duration {
	return p.at[(int(p.first)+n)%len(p.at)]
}

// held counts the places that are not free at now.
func (p *places) held(now, per time.Duration) int {
	n := len(p.at)
	return n - sort.Search(n, func(i int) bool { return p.nth(i)+per > now })
}
