package limiter

import (
	"sort"
	"time"
)

// quota remembers when the requests of one key passed, at most the last Max of them: a ring in order
// of time that grows on demand. A time less than Per ago uses up one request of the quota. Times count
// from the window's start.
type quota struct {
	at    []time.Duration // len(at) <= Max
	first uint32          // index of the oldest time; 0 until len(at) == Max
}

// take uses one request of the quota at now, if one remains.
//
// A slot of the ring is used again only at per or more after the time in it. Callers race, so now may
// be earlier than times that are already in the ring. It is compared as it is, but noted no earlier
// than the newest time, which keeps the ring in order. A noted time is thus never earlier than the one
// that was passed, so a slot is used at most once in any span of per.
func (q *quota) take(now time.Duration, limit int, per time.Duration) Decision {
	denied := q.exhausted(now, limit, per)
	if !denied {
		q.note(now, limit)
	}
	d := Decision{Denied: denied, Limit: limit, Remaining: limit - q.used(now, per)}
	if d.Remaining == 0 {
		d.Reset = q.at[q.first] + per - now
	}
	return d
}

// exhausted reports whether take would deny a request at now.
func (q *quota) exhausted(now time.Duration, limit int, per time.Duration) bool {
	return len(q.at) == limit && q.at[q.first]+per > now
}

// note adds now to the ring. It overwrites the oldest time if the ring is full.
func (q *quota) note(now time.Duration, limit int) {
	if len(q.at) > 0 {
		now = max(now, q.newest())
	}
	if len(q.at) == limit {
		q.at[q.first] = now
		q.first = (q.first + 1) % uint32(limit)
		return
	}
	if len(q.at) == cap(q.at) { // append alone would grow beyond limit
		at := make([]time.Duration, len(q.at), min(max(2*len(q.at), 2), limit))
		copy(at, q.at)
		q.at = at
	}
	q.at = append(q.at, now)
}

// newest returns the time that was noted last. There must be one.
func (q *quota) newest() time.Duration {
	return q.nth(len(q.at) - 1)
}

// nth returns the time that has n older ones before it.
func (q *quota) nth(n int) time.Duration {
	return q.at[(int(q.first)+n)%len(q.at)]
}

// used counts the requests that the quota still counts at now.
func (q *quota) used(now, per time.Duration) int {
	n := len(q.at)
	return n - sort.Search(n, func(i int) bool { return q.nth(i)+per > now })
}
