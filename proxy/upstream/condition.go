package upstream

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pace/lb"
	"pace/lb/health"
	"pace/proxy/upstream/check"
)

// condition is whether a backend may be picked, and why. It belongs to an address of an upstream and survives a
// reload: also one that changes how connections are made, which gives the address another Backend.
type condition struct {
	start     time.Time
	quiet     atomic.Int64 // up to the end of this bucket of the window a success changes nothing; -1: the next one does
	unsaid    atomic.Int32 // attempts that ended and say nothing about the backend, less the open streams
	changes   [health.StateCount]atomic.Int64
	machine   *health.Machine // guarded by the mutex of the upstream, as is what follows
	of        []*lb.Backend   // those that have it
	ended     uint32          // attempts at those that had it
	lastCheck *check.Result   // nil: none yet
	pausedTo  time.Time       // until then it is not picked, because it asked for that; zero or past: it is
	streams   streams         // has a lock of its own
}

func newCondition(r *health.Rules, late bool) *condition {
	now := time.Now()
	c := &condition{start: now, machine: health.New(r, now, late)}
	c.quiet.Store(-1)
	return c
}

// total returns how many attempts have ended that say something about the backend.
func (c *condition) total() uint32 {
	n := c.ended - uint32(c.unsaid.Load())
	for _, b := range c.of {
		n += b.Ended()
	}
	return n
}

// gain makes b one of those that have c. u.mu is held.
func (c *condition) gain(b *lb.Backend) { c.of = append(c.of, b) }

// lose is for when b is used no more. u.mu is held.
func (c *condition) lose(b *lb.Backend) {
	c.ended += b.Ended()
	c.of = slices.DeleteFunc(c.of, func(o *lb.Backend) bool { return o == b })
}

// shared is what the Upstreams have in common that succeed each other at reloads.
type shared struct {
	spending spending // of the budget

	mu         sync.Mutex  // guards what follows, the conditions of the backends and the entries; and orders the changes of pools
	inUse      []*Upstream // those that are not closed, the newest last
	timer      *time.Timer // for what happens to backends as time passes
	panics     bool        // none may be picked, and the log says so
	panicPicks atomic.Int64
	runners    map[*Backend]*runner

	checksPassed, checksFailed atomic.Int64
}

// Change is a change of state of a backend.
type Change struct {
	Upstream string
	Backend  *Backend
	health.Transition
}

// What makes a pick special; the bits of Upstream.special.
const (
	trialDue = 1 << iota // a backend waits for a request that is its trial
	inPanic              // none may be picked, so all are that are not drained
)

// member is a backend of an upstream, with its weight.
type member struct {
	*Backend
	weight int
}

// state is the state of its machine. u.mu is held.
func (m *member) state() health.State {
	state, _, _ := m.condition.machine.State()
	return state
}

// learn has b's machine learn of something, puts in force what follows from it, and reports the change. u.mu is held.
func (u *Upstream) learn(b *Backend, now time.Time, f func(m *health.Machine) (health.Transition, bool)) (health.Transition, bool) {
	if b.users.Load() == 0 { // it has left
		return health.Transition{}, false
	}
	t, changed := f(b.condition.machine)
	b.condition.quiet.Store(b.condition.machine.Quiet())
	if changed {
		u.report(b, t)
		u.applyAll(now)
	}
	return t, changed
}

func (u *Upstream) report(b *Backend, t health.Transition) {
	b.condition.changes[t.To].Add(1)
	if u.o.OnChange != nil {
		u.o.OnChange(Change{Upstream: u.Name, Backend: b, Transition: t})
	}
}

// applyAll puts the states of the backends in force in each Upstream that has them. u.mu is held.
func (u *Upstream) applyAll(now time.Time) {
	for _, one := range u.inUse {
		one.apply(now)
	}
	if len(u.inUse) == 0 {
		return
	}
	newest := u.inUse[len(u.inUse)-1]
	if panics := newest.special.Load()&inPanic != 0; panics != u.panics {
		u.panics = panics
		newest.logPanic()
	}
	u.setTimer(now)
}

// logPanic logs that panic has begun or ended.
func (u *Upstream) logPanic() {
	switch attr := slog.String("upstream", u.Name); {
	case u.o.Log == nil:
	case u.panics:
		u.o.Log.LogAttrs(context.Background(), slog.LevelError, "panic: no backend may be picked, so pace asks all that are not drained", attr)
	default:
		u.o.Log.LogAttrs(context.Background(), slog.LevelInfo, "panic over: a backend may be picked again, or all are drained", attr)
	}
}

// apply has the backends picked that may be: those that are healthy or starting, and of these the ones that have not
// asked for a pause, unless all have. If there is none, all are picked that are not drained; else these are asked when
// the others have failed. A backend that is starting gets a part of its weight. u.mu is held.
func (u *Upstream) apply(now time.Time) {
	u.keepShare(now)
	special, scale := uint32(0), 1
	for i := range u.members {
		machine := u.members[i].condition.machine
		if machine.Step(&u.o.Health, now) < health.Steps {
			scale = health.Steps
		}
		if _, due := machine.Due(&u.o.Health, now); due {
			special |= trialDue
		}
	}
	var picked, paused, out []lb.Member
	for i := range u.members {
		switch m := &u.members[i]; {
		case m.state().MayBePicked():
			weight := m.weight * scale * m.condition.machine.Step(&u.o.Health, now) / health.Steps
			one := lb.Member{Backend: m.Backend.Backend, Weight: weight}
			if m.condition.pausedTo.After(now) {
				paused = append(paused, one)
			} else {
				picked = append(picked, one)
			}
		case m.state() != health.Drained:
			out = append(out, lb.Member{Backend: m.Backend.Backend, Weight: m.weight})
		}
	}
	if len(picked) == 0 {
		picked = paused
	}
	if len(picked) == 0 && len(out) > 0 {
		special |= inPanic
		picked, out = out, nil
	}
	if !slices.Equal(picked, u.pool.Members()) {
		u.pool.Set(picked)
	}
	if !slices.Equal(out, u.out.Members()) {
		u.out.Set(out)
	}
	u.special.Store(special)
}

// ejections counts the backends that are not drained, and those of them that are ejected; byHand of these an operator
// has ejected. u.mu is held.
func (u *Upstream) ejections() (n, ejected, byHand int) {
	for i := range u.members {
		m := &u.members[i]
		if m.state() == health.Drained {
			continue
		}
		n++
		if is, hand, _ := m.condition.machine.Ejected(); is {
			ejected++
			if hand {
				byHand++
			}
		}
	}
	return n, ejected, byHand
}

// maxEjected returns how many of n backends may be ejected.
func (u *Upstream) maxEjected(n int) int {
	if !u.o.Health.Ejection.Enabled {
		return 0
	}
	return int(u.o.MaxShare*float64(n) + 1e-9) // 0.29 * 100 is a little below 29
}

// mayEject reports whether one more backend may be ejected. u.mu is held.
func (u *Upstream) mayEject() bool {
	n, ejected, _ := u.ejections()
	return ejected < u.maxEjected(n)
}

// keepShare lets in what requests have ejected beyond the maximum share: the pool has become smaller, or the
// configuration is another. u.mu is held.
func (u *Upstream) keepShare(now time.Time) {
	for n, ejected, byHand := u.ejections(); ejected-byHand > u.maxEjected(n); ejected-- {
		var first *member
		var when time.Time
		for i := range u.members {
			m := &u.members[i]
			is, hand, until := m.condition.machine.Ejected()
			if is && !hand && m.state() != health.Drained && (first == nil || until.Before(when)) {
				first, when = m, until
			}
		}
		why := "ejection is not enabled any more"
		if u.o.Health.Ejection.Enabled {
			why = fmt.Sprintf("of %d backends no more than %d may be ejected", n, u.maxEjected(n))
		}
		if t, changed := first.condition.machine.Readmit(&u.o.Health, now, health.Operator, why); changed {
			u.report(first.Backend, t)
		}
		first.condition.quiet.Store(-1)
	}
}

// setTimer sets the timer to the next moment at which something changes by itself. u.mu is held.
func (u *Upstream) setTimer(now time.Time) {
	var next time.Time
	for n, one := range u.inUse {
		for i := range one.members {
			c := one.members[i].condition
			var due []time.Time
			if c.pausedTo.After(now) {
				due = append(due, c.pausedTo)
			}
			if n == len(u.inUse)-1 { // by whose rules tick goes; what is late already, because they are others, is due now
				due = append(due, c.machine.Next(&one.o.Health, now))
			}
			for _, at := range due {
				if !at.IsZero() && (next.IsZero() || at.Before(next)) {
					next = at
				}
			}
		}
	}
	switch s := u.shared; {
	case next.IsZero() && s.timer != nil:
		s.timer.Stop()
	case next.IsZero():
	case s.timer == nil:
		s.timer = time.AfterFunc(next.Sub(now), s.tick)
	default:
		s.timer.Reset(next.Sub(now))
	}
}

// tick does what is due. It runs on the timer's goroutine.
func (s *shared) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inUse) == 0 {
		return
	}
	now, u := time.Now(), s.inUse[len(s.inUse)-1]
	for i := range u.members {
		m := &u.members[i]
		if t, changed := m.condition.machine.Tick(&u.o.Health, now); changed {
			u.report(m.Backend, t)
		}
	}
	u.applyAll(now)
}
