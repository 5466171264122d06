package health

import (
	"fmt"
	"time"
)

// Machine is the state of one backend, and what led to it. It is not safe for concurrent use.
//
// What may take a backend out is independent of each other, and the state is the first that holds:
//
//	drained    from Drain to Undrain
//	ejected    from too many failures, or Eject, to a passed trial, or Readmit
//	unhealthy  from Fall failed checks in a row to Rise passed ones
//	starting   for SlowStart, once none of these holds any more
//	healthy
//
// An ejection by failures has a time. When that is up, one request is the trial of the backend ([Machine.Due],
// [Machine.BeginTrial]), or the next check. If it fails, the backend is ejected again, for twice as long.
type Machine struct {
	state  State // that is shown, with its since and reason
	since  time.Time
	reason string
	by     By

	drained bool
	checks  checks
	ejection
	starting bool
	started  time.Time

	streak   series
	window   window
	readmits bool // the trial has passed, and no request has succeeded since: one failure ejects
}

// ejection is the present ejection, or the last one.
type ejection struct {
	ejected bool
	byHand  bool // an operator's, which only an operator ends
	why     string
	from    time.Time
	until   time.Time // when it is time for a trial
	trial   bool      // a request is the trial, and has not ended
	ended   time.Time
	times   int // ejections of which each took twice as long as the one before
}

// checks counts the last checks of one kind.
type checks struct {
	unhealthy      bool
	failed, passed int // in a row
	why            string
}

// New returns the machine of a backend that is there from now on. A backend that comes to others which have requests
// already is starting, if the rules have a slow start.
func New(r *Rules, now time.Time, late bool) *Machine {
	m := &Machine{since: now}
	m.window.start = now
	if late && r.SlowStart > 0 {
		m.state, m.starting, m.started, m.reason = Starting, true, now, "new"
	}
	return m
}

// State returns the state, since when it is in it, and why. The reason is "" until it has changed.
func (m *Machine) State() (s State, since time.Time, reason string) {
	return m.state, m.since, m.reason
}

// Ejected reports whether it is ejected, even if it is shown as drained; byHand: by an operator, until an operator
// readmits it. until is when its trial is due.
func (m *Machine) Ejected() (ejected, byHand bool, until time.Time) {
	return m.ejected, m.byHand, m.until
}

// Failed learns that an attempt failed, and that this is the backend's doing. total is how many attempts have ended so
// far, this one included, without those that say nothing about the backend. If may is false, it is not ejected now.
func (m *Machine) Failed(r *Rules, now time.Time, f Failure, total uint32, may bool) (Transition, bool) {
	e := &r.Ejection
	if !e.Enabled || m.ejected {
		return Transition{}, false
	}
	m.window.moveOn(now, e.Window, total)
	m.window.failed()
	m.streak.add(now, f)
	why := m.tooMany(e, now)
	if why == "" || !may {
		return Transition{}, false
	}
	m.eject(e, now, why)
	return m.show(r, now, Requests, why)
}

// tooMany says why the failures are too many; "": they are not.
func (m *Machine) tooMany(e *Ejection, now time.Time) string {
	if m.readmits {
		return m.streak.words(now) + ", right after the trial"
	}
	if e.ConsecutiveFailures > 0 && m.streak.n >= e.ConsecutiveFailures {
		return m.streak.words(now)
	}
	if requests, failures := m.window.sums(); e.Window > 0 && e.FailureShare > 0 && requests >= e.MinRequests && float64(failures) >= e.FailureShare*float64(requests) {
		return fmt.Sprintf("%d of %d requests failed within %s", failures, requests, span(e.Window))
	}
	return ""
}

// Succeeded learns that an attempt succeeded. It need not learn of each: see [Machine.Quiet].
func (m *Machine) Succeeded(r *Rules, now time.Time, total uint32) {
	if !r.Ejection.Enabled || m.ejected {
		return
	}
	m.window.moveOn(now, r.Ejection.Window, total)
	m.streak.n, m.readmits = 0, false
}

// Quiet returns the bucket ([Bucket]) up to whose end a success changes nothing; -1: the next one does.
func (m *Machine) Quiet() int64 {
	if m.streak.n > 0 || m.readmits || !m.window.begun {
		return -1
	}
	return m.window.at
}

// Bucket returns the number of the present part of the window of a machine that is there since start.
func Bucket(r *Rules, start, now time.Time) int64 { return bucket(start, now, r.Ejection.Window) }

func (m *Machine) eject(e *Ejection, now time.Time, why string) {
	if !m.ejected && now.Sub(m.ended) >= e.Max {
		m.times = 0
	}
	length := e.Base
	for range m.times {
		if length >= e.Max {
			break
		}
		length *= 2
	}
	m.times++
	m.ejected, m.byHand, m.trial, m.why = true, false, false, why
	m.from, m.until = now, now.Add(min(length, e.Max))
	m.forget()
}

// forget forgets the failures so far.
func (m *Machine) forget() {
	m.streak.n, m.readmits = 0, false
	m.window.begun = false
}

// Due reports whether a request must be the trial of the backend, and since when.
func (m *Machine) Due(r *Rules, now time.Time) (since time.Time, due bool) {
	return m.until, m.ejected && !m.byHand && !m.drained && !m.trial && !r.Checked && !now.Before(m.until)
}

// BeginTrial makes a request the trial. One of PassTrial, FailTrial and LoseTrial must follow.
func (m *Machine) BeginTrial() { m.trial = true }

// LoseTrial learns that the trial ended in a way that says nothing about the backend: another one is due.
func (m *Machine) LoseTrial() { m.trial = false }

// PassTrial learns that the trial got a response. The backend is let in again; but if the response ends badly, or the
// next one fails, it is ejected at once.
func (m *Machine) PassTrial(r *Rules, now time.Time) (Transition, bool) {
	if !m.trial {
		return Transition{}, false
	}
	return m.letIn(r, now, Requests, "the trial passed, "+span(now.Sub(m.from))+" after the ejection")
}

// FailTrial learns that the trial failed.
func (m *Machine) FailTrial(r *Rules, now time.Time, f Failure) (Transition, bool) {
	if !m.trial {
		return Transition{}, false
	}
	return m.ejectAgain(r, now, Requests, "the trial failed: "+f.One)
}

func (m *Machine) letIn(r *Rules, now time.Time, by By, why string) (Transition, bool) {
	t, changed := m.Readmit(r, now, by, why)
	m.readmits = true
	return t, changed
}

func (m *Machine) ejectAgain(r *Rules, now time.Time, by By, why string) (Transition, bool) {
	m.eject(&r.Ejection, now, why)
	return m.showAgain(r, now, by, why)
}

// Checked learns of a check; why says how it failed, in words.
func (m *Machine) Checked(r *Rules, now time.Time, passed bool, why string) (Transition, bool) {
	c := &m.checks
	if passed {
		c.failed, c.passed = 0, c.passed+1
		if why = fmt.Sprintf("%d checks in a row passed", c.passed); c.passed == 1 {
			why = "a check passed"
		}
		if c.passed >= max(1, r.Rise) {
			c.unhealthy = false
		}
	} else {
		c.failed, c.passed = c.failed+1, 0
		if c.failed >= max(1, r.Fall) && !c.unhealthy {
			c.unhealthy = true
			c.why = fmt.Sprintf("%d checks in a row failed, the last one: %s", c.failed, why)
			if c.failed == 1 {
				c.why = "a check failed: " + why
			}
		}
	}
	switch {
	case !m.ejected || m.byHand || now.Before(m.until):
	case passed:
		return m.letIn(r, now, Checks, "the check passed, "+span(now.Sub(m.from))+" after the ejection")
	default:
		return m.ejectAgain(r, now, Checks, "the check failed: "+why)
	}
	if !passed {
		why = c.why
	}
	return m.show(r, now, Checks, why)
}

// CheckNoMore learns that the backend is not checked any more.
func (m *Machine) CheckNoMore(r *Rules, now time.Time) (Transition, bool) {
	m.checks = checks{}
	return m.show(r, now, Operator, "it is not checked any more")
}

// Drain takes the backend out until [Machine.Undrain]. why says who wants it.
func (m *Machine) Drain(r *Rules, now time.Time, why string) (Transition, bool) {
	m.drained, m.trial = true, false
	return m.show(r, now, Operator, why)
}

// Undrain ends what [Machine.Drain] began.
func (m *Machine) Undrain(r *Rules, now time.Time, why string) (Transition, bool) {
	m.drained = false
	return m.show(r, now, Operator, why)
}

// Eject takes the backend out until [Machine.Readmit].
func (m *Machine) Eject(r *Rules, now time.Time, why string) (Transition, bool) {
	if m.byHand {
		return Transition{}, false
	}
	m.ejected, m.byHand, m.trial, m.why = true, true, false, why
	m.from, m.until = now, now
	m.forget()
	return m.showAgain(r, now, Operator, why)
}

// Readmit ends an ejection, whoever caused it.
func (m *Machine) Readmit(r *Rules, now time.Time, by By, why string) (Transition, bool) {
	if !m.ejected {
		return Transition{}, false
	}
	m.ejected, m.byHand, m.trial, m.ended = false, false, false, now
	m.forget()
	return m.show(r, now, by, why)
}

// Tick learns that time has passed, or that the rules are others.
func (m *Machine) Tick(r *Rules, now time.Time) (Transition, bool) {
	if m.starting && now.Sub(m.started) >= r.SlowStart {
		m.starting = false
		return m.show(r, now, m.by, "it has started, in "+span(now.Sub(m.started)))
	}
	return Transition{}, false
}

// Next returns when Tick changes something, or a trial becomes due; zero: not by time alone.
func (m *Machine) Next(r *Rules, now time.Time) (at time.Time) {
	if m.ejected && !m.byHand && !m.drained && !m.trial && !r.Checked && now.Before(m.until) {
		at = m.until
	}
	if m.starting {
		step := max(1, r.SlowStart/Steps)
		next := m.started.Add(min(r.SlowStart, (now.Sub(m.started)/step+1)*step))
		if at.IsZero() || next.Before(at) {
			at = next
		}
	}
	return at
}

// Steps is in how many steps a backend that is starting gets its whole share.
const Steps = 10

// Step returns which of the [Steps] it is at: the share of its weight that it gets, in tenths.
func (m *Machine) Step(r *Rules, now time.Time) int {
	if !m.starting || r.SlowStart <= 0 {
		return Steps
	}
	return min(Steps, 1+int(Steps*now.Sub(m.started)/r.SlowStart))
}

// show makes what holds now the state, and returns the change, if it is one.
func (m *Machine) show(r *Rules, now time.Time, by By, why string) (Transition, bool) {
	from, to := m.state, m.holds()
	if to == Healthy && !from.MayBePicked() && r.SlowStart > 0 {
		m.starting, m.started = true, now
		to = Starting
	}
	if !to.MayBePicked() {
		m.starting = false
	}
	if from == to {
		return Transition{}, false
	}
	if from > to && !to.MayBePicked() { // one reason is gone, and another one stays
		why += "; still " + to.String() + ": " + m.whyOf(to)
	}
	return m.change(now, to, by, why), true
}

// showAgain is show, but a further ejection is a change, too.
func (m *Machine) showAgain(r *Rules, now time.Time, by By, why string) (Transition, bool) {
	if m.state == Ejected {
		return m.change(now, Ejected, by, why), true
	}
	return m.show(r, now, by, why)
}

func (m *Machine) change(now time.Time, to State, by By, why string) Transition {
	t := Transition{At: now, From: m.state, To: to, Reason: why, By: by}
	m.state, m.since, m.reason, m.by = to, now, why, by
	return t
}

// holds returns the first state that holds.
func (m *Machine) holds() State {
	switch {
	case m.drained:
		return Drained
	case m.ejected:
		return Ejected
	case m.checks.unhealthy:
		return Unhealthy
	case m.starting:
		return Starting
	}
	return Healthy
}

func (m *Machine) whyOf(s State) string {
	if s == Ejected {
		return m.why
	}
	return m.checks.why
}
