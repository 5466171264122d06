// Package recent keeps the last interesting exchanges in memory, and some ordinary ones, so that somebody can ask
// what happened to a request without a tracing system. It tells each of them in sentences. It must not know the
// other signals, or any package of pace but telemetry.
package recent

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pace/telemetry"
)

const (
	// bytesEach is the memory of a record with texts of a usual length: its attempts included, about 2 KiB.
	bytesEach = 4 << 10

	// minBytes lets a small ring hold records of requests with large headers.
	minBytes = 1 << 20

	// ordinaryPerSecond is how many ordinary exchanges are taken in a second, so that a request made by hand is
	// found, and one of thousands costs nothing.
	ordinaryPerSecond = 10
)

// Ring holds the last exchanges, at most a tenth of them ordinary ones. It holds their records; when there are too
// many, or they take more than 4 KiB on average (and more than 1 MiB in all), it lets go of the oldest of their kind. It is a
// [telemetry.Signal]. Safe for concurrent use.
type Ring struct {
	ordinaryNow atomic.Int64 // the second of the last ordinary exchanges × 1000, and how many of them were taken

	mu          sync.Mutex // guards what follows
	size        int        // exchanges at most; 0: none
	interesting queue
	ordinary    queue
	last        uint64 // number of the newest
	tails       map[*Tail]bool
}

// entry is an exchange in the ring.
type entry struct {
	number uint64
	*telemetry.Record
}

// New returns a ring of this size.
func New(size int) *Ring { return &Ring{size: size, tails: map[*Tail]bool{}} }

// Publish implements [telemetry.Signal].
func (g *Ring) Publish(m telemetry.Moment, r *telemetry.Record) {
	if m != telemetry.Ended {
		return
	}
	ordinary := r.Reason == telemetry.Ordinary
	if ordinary && !g.takesOrdinary(r.End) {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !ordinary {
		g.send(r)
	}
	r.Retain()
	g.last++
	if ordinary {
		g.ordinary.push(entry{g.last, r})
	} else {
		g.interesting.push(entry{g.last, r})
	}
	g.trim()
}

// Resize changes how many exchanges the ring holds at most, and lets go of what is too much.
func (g *Ring) Resize(size int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.size = size
	g.trim()
}

// takesOrdinary reports whether one more ordinary exchange is taken within this second.
func (g *Ring) takesOrdinary(now time.Time) bool {
	second := now.Unix() * 1000
	n := g.ordinaryNow.Load()
	switch {
	case n < second:
		return g.ordinaryNow.CompareAndSwap(n, second+1)
	case n-second < ordinaryPerSecond:
		return g.ordinaryNow.CompareAndSwap(n, n+1)
	}
	return false
}

// trim lets go of what is too much.
func (g *Ring) trim() {
	for len(g.ordinary.entries) > g.size/10 {
		g.ordinary.pop()
	}
	for n := g.length(); n > g.size || n > 1 && g.interesting.bytes+g.ordinary.bytes > max(g.size*bytesEach, minBytes); n = g.length() {
		if len(g.interesting.entries) > 0 { // the sample of ordinary ones is small, and outlives a storm
			g.interesting.pop()
		} else {
			g.ordinary.pop()
		}
	}
}

func (g *Ring) length() int { return len(g.interesting.entries) + len(g.ordinary.entries) }

// list returns the exchanges for which is holds, the one that ended last first. The caller releases them.
func (g *Ring) list(is func(*telemetry.Record) bool) []entry {
	g.mu.Lock()
	defer g.mu.Unlock()
	var all []entry
	for _, q := range []*queue{&g.interesting, &g.ordinary} {
		for _, e := range q.entries {
			if is(e.Record) {
				e.Retain()
				all = append(all, e)
			}
		}
	}
	slices.SortFunc(all, func(a, b entry) int { return cursorOf(b).compare(cursorOf(a)) })
	return all
}

// queue holds records in the order in which they came.
type queue struct {
	entries []entry
	bytes   int
}

func (q *queue) push(e entry) {
	q.entries = append(q.entries, e)
	q.bytes += e.Size()
}

// pop lets go of the oldest.
func (q *queue) pop() {
	e := q.entries[0]
	q.bytes -= e.Size()
	q.entries[0] = entry{}
	q.entries = q.entries[1:]
	e.Release()
}

// cursor is a place in the order of exchanges.
type cursor struct {
	end    int64 // in ns since 1970
	number uint64
}

func cursorOf(e entry) cursor { return cursor{e.End.UnixNano(), e.number} }

func (c cursor) compare(d cursor) int {
	return cmp.Or(cmp.Compare(c.end, d.end), cmp.Compare(c.number, d.number))
}
