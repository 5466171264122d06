package upstream

import (
	"time"

	"pace/lb/health"
)

// Result is what an attempt says about its backend.
type Result struct {
	Kind  ResultKind
	Fault health.Failure // of a Failure
}

// ResultKind says whether an attempt speaks for its backend.
type ResultKind uint8

// The kinds.
const (
	Nothing ResultKind = iota // the client left, or pace is at fault
	Success
	Failure
)

// Ended reports the end of an attempt, once for each. If it ejects the backend, it returns the reason, else "".
func (u *Upstream) Ended(s Step, at time.Time, r Result) (ejected string) {
	switch r.Kind {
	case Success:
		u.succeeded(s, at)
	case Failure:
		return u.failed(s, at, r.Fault)
	default:
		u.left(s)
	}
	return ""
}

// BecameStream reports that an attempt has become a stream, and what it says so far. Ended, with Nothing, must follow
// when the stream ends.
func (u *Upstream) BecameStream(s Step, at time.Time, r Result) (ejected string) {
	s.Backend.condition.unsaid.Add(-1)
	return u.Ended(s, at, r)
}

// Responded notes that the header of a response has come that is no failure. If s is the trial of its backend, it has
// passed.
func (u *Upstream) Responded(s *Step, at time.Time) {
	if !s.Trial {
		return
	}
	s.Trial = false
	u.mu.Lock()
	defer u.mu.Unlock()
	u.learn(s.Backend, at, func(m *health.Machine) (health.Transition, bool) { return m.PassTrial(&u.o.Health, at) })
}

func (u *Upstream) succeeded(s Step, at time.Time) {
	c, r := s.Backend.condition, &u.o.Health
	if !r.Ejection.Enabled || c.quiet.Load() >= health.Bucket(r, c.start, at) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.learn(s.Backend, at, func(m *health.Machine) (health.Transition, bool) {
		m.Succeeded(r, at, c.total())
		return health.Transition{}, false
	})
}

func (u *Upstream) failed(s Step, at time.Time, f health.Failure) (reason string) {
	c, r := s.Backend.condition, &u.o.Health
	if !r.Ejection.Enabled {
		return ""
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	t, _ := u.learn(s.Backend, at, func(m *health.Machine) (health.Transition, bool) {
		if s.Trial {
			if t, changed := m.FailTrial(r, at, f); changed {
				return t, true
			}
		}
		return m.Failed(r, at, f, c.total(), u.mayEject())
	})
	if t.To != health.Ejected {
		return ""
	}
	return t.Reason
}

func (u *Upstream) left(s Step) {
	s.Backend.condition.unsaid.Add(1)
	if !s.Trial {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	s.Backend.condition.machine.LoseTrial()
	u.applyAll(time.Now())
}

// trialPatience is how long a trial waits for a request that may be done twice. After that any request is one.
const trialPatience = time.Second

// takeTrial makes r the trial of a backend that waits for one, and returns that; nil: r is for none.
func (u *Upstream) takeTrial(r *Request) *Backend {
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	var first *Backend
	var when time.Time
	for i := range u.members {
		b := u.members[i].Backend
		since, due := b.condition.machine.Due(&u.o.Health, now)
		if due && (r.Repeatable || now.Sub(since) >= trialPatience) && (first == nil || since.Before(when)) {
			first, when = b, since
		}
	}
	if first == nil || !reserve(first.Backend) {
		return nil
	}
	first.condition.machine.BeginTrial()
	u.applyAll(now)
	return first
}
