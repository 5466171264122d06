package lb

import (
	"container/heap"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb/health"
)

// A simulation sends requests to ten backends for eleven seconds. In the last ten of them one backend has a fault,
// and these ten are measured. Time is a bubble's, everything happens on one goroutine, and all random numbers
// have one seed. So each run gives the same figures.
const (
	simulatedBackends = 10
	simulatedClients  = 500                   // each is a key of the policy hash
	simulatedRate     = 1_600                 // requests a second, at random moments
	usual             = 25 * time.Millisecond // the mean response time; each is between half of it and one and a half
	slower            = 20                    // times as slow is a slow backend
	patience          = time.Second           // response_timeout
	healthyFor        = time.Second
	faultyFor         = 10 * time.Second
)

// fault is what happens to one backend.
type fault struct {
	name, doc string
	respond   func(s *simulation) (time.Duration, attemptEnd)
	leaves    bool // it leaves the pool when the fault begins, and returns halfway
}

// attemptEnd is how an attempt at a simulated backend ended.
type attemptEnd uint8

const (
	responded    attemptEnd = iota
	respondedBad            // 503
	timedOut                // nothing came within patience; the request is not safe to repeat
	refused                 // there was no connection, so the request fails over
)

var faults = []fault{
	{name: "none", doc: "all backends are alike", respond: (*simulation).asUsual},
	{name: "slow", doc: "one is 20 times slower", respond: func(s *simulation) (time.Duration, attemptEnd) {
		took, end := s.asUsual()
		return slower * took, end
	}},
	{name: "hangs", doc: "one accepts requests and never responds", respond: func(*simulation) (time.Duration, attemptEnd) {
		return patience, timedOut
	}},
	{name: "refuses", doc: "one refuses connections", respond: func(*simulation) (time.Duration, attemptEnd) {
		return time.Millisecond, refused
	}},
	{name: "503", doc: "one responds 503 at once", respond: func(*simulation) (time.Duration, attemptEnd) {
		return time.Millisecond, respondedBad
	}},
	{name: "leaves", doc: "one leaves, and returns five seconds later", respond: (*simulation).asUsual, leaves: true},
}

// figures are what a simulation measured.
type figures struct {
	policy, fault string
	p50, p99      time.Duration // of whole requests, until the client had its response
	failed        float64       // share of the requests
	share         float64       // of the attempts, that the backend with the fault got
}

// byDefault is the ejection that the configuration has by default.
var byDefault = health.Ejection{
	Enabled:             true,
	ConsecutiveFailures: 5,
	FailureShare:        0.5,
	MinRequests:         20,
	Window:              10 * time.Second,
	Base:                10 * time.Second,
	Max:                 5 * time.Minute,
}

// simulation is one policy against one fault.
type simulation struct {
	pool     *Pool
	members  []Member
	ejection ejection // of the backend with the fault; the others do not fail
	faulty   *Backend
	gone     bool  // it has left
	fault    fault // in force
	random   *rand.Rand
	events   events
	from, to time.Time // what is measured: requests that begin in between

	took                       []time.Duration
	failed, attempts, atFaulty int
}

// simulate runs one simulation in a bubble.
func simulate(t *testing.T, policy *Policy, f fault, e health.Ejection) (got figures) {
	synctest.Test(t, func(*testing.T) {
		s := &simulation{
			pool:    &Pool{Policy: policy},
			members: numbered(simulatedBackends, 1),
			fault:   faults[0],
			random:  rand.New(rand.NewPCG(14, 0)),
			from:    time.Now().Add(healthyFor),
			to:      time.Now().Add(healthyFor + faultyFor),
		}
		s.faulty, s.pool.numbers = s.members[7].Backend, s.random.Uint64
		s.ejection = ejection{rules: &health.Rules{Ejection: e}}
		s.ejection.machine = health.New(s.ejection.rules, time.Now(), false)
		s.publish()
		s.in(healthyFor, func() { s.begin(f) })
		s.arrive()
		s.run()
		slices.Sort(s.took)
		got = figures{
			policy: policy.Name,
			fault:  f.name,
			p50:    s.took[len(s.took)/2],
			p99:    s.took[len(s.took)*99/100],
			failed: float64(s.failed) / float64(len(s.took)),
			share:  float64(s.atFaulty) / float64(s.attempts),
		}
	})
	return got
}

// run makes the events happen, each at its time.
func (s *simulation) run() {
	for len(s.events) > 0 {
		e := heap.Pop(&s.events).(event)
		time.Sleep(time.Until(e.at))
		e.happen()
	}
}

// begin is that the fault begins.
func (s *simulation) begin(f fault) {
	s.fault = f
	if f.leaves {
		s.gone = true
		s.publish()
		s.in(faultyFor/2, func() {
			s.gone = false
			s.publish()
		})
	}
}

// publish puts the backends in the pool that may be picked.
func (s *simulation) publish() {
	state, _, _ := s.ejection.machine.State()
	out := s.gone || !state.MayBePicked()
	s.pool.Set(slices.DeleteFunc(slices.Clone(s.members), func(m Member) bool { return out && m.Backend == s.faulty }))
}

// arrive is that a client sends a request, and another one will.
func (s *simulation) arrive() {
	now := time.Now()
	if now.After(s.to) {
		return
	}
	s.attempt(now, Request{Key: Key(fmt.Sprint(s.random.IntN(simulatedClients)))})
	s.in(time.Duration(s.random.ExpFloat64()*float64(time.Second)/simulatedRate), s.arrive)
}

// attempt sends a request that began at a time to a backend, and to another one if there is no connection.
func (s *simulation) attempt(began time.Time, r Request) {
	r.Now = time.Now()
	trial := len(r.Tried) == 0 && s.ejection.takesTrial(r.Now)
	b := s.faulty
	if !trial {
		b = s.pool.Pick(r).Backend
	}
	took, end := s.asUsual()
	if b == s.faulty {
		took, end = s.fault.respond(s)
	}
	if !began.Before(s.from) {
		s.attempts++
		if b == s.faulty {
			s.atFaulty++
		}
	}
	b.Begin()
	s.in(took, func() {
		b.End()
		b.Observe(time.Now(), observed(took, end))
		if b == s.faulty && s.ejection.learn(time.Now(), trial, end) {
			s.publish()
		}
		if end == refused && len(r.Tried) == 0 {
			r.Tried = []*Backend{b}
			s.attempt(began, r)
			return
		}
		s.respond(began, end)
	})
}

// ejection has a machine of package health learn how attempts end, as proxy/upstream does.
type ejection struct {
	machine *health.Machine
	rules   *health.Rules
	ended   uint32
}

// learn reports whether an attempt changed the state of the backend.
func (e *ejection) learn(now time.Time, trial bool, end attemptEnd) (changed bool) {
	e.ended++
	switch failure := (health.Failure{One: "failure", Many: "failures"}); {
	case end == responded && trial:
		_, changed = e.machine.PassTrial(e.rules, now)
	case end == responded:
		e.machine.Succeeded(e.rules, now, e.ended)
	case trial:
		_, changed = e.machine.FailTrial(e.rules, now, failure)
	default:
		_, changed = e.machine.Failed(e.rules, now, failure, e.ended, true)
	}
	return changed
}

// takesTrial reports whether a request is to be the trial of the backend.
func (e *ejection) takesTrial(now time.Time) bool {
	_, due := e.machine.Due(e.rules, now)
	if due {
		e.machine.BeginTrial()
	}
	return due
}

// asUsual is how a backend without a fault responds.
func (s *simulation) asUsual() (time.Duration, attemptEnd) {
	return usual/2 + time.Duration(s.random.Int64N(int64(usual))), responded
}

// observed is the response time that an attempt counts as: a failure counts as a second at least, as it does in
// package upstream.
func observed(took time.Duration, end attemptEnd) time.Duration {
	if end == responded {
		return took
	}
	return max(took, time.Second)
}

// respond is that the client of a request has its response.
func (s *simulation) respond(began time.Time, end attemptEnd) {
	if began.Before(s.from) {
		return
	}
	s.took = append(s.took, time.Since(began))
	if end != responded {
		s.failed++
	}
}

// in makes something happen later.
func (s *simulation) in(d time.Duration, happen func()) {
	heap.Push(&s.events, event{time.Now().Add(d), happen})
}

// event is something that will happen.
type event struct {
	at     time.Time
	happen func()
}

// events are ordered by their time, as a heap.
type events []event

func (e events) Len() int           { return len(e) }
func (e events) Less(i, j int) bool { return e[i].at.Before(e[j].at) }
func (e events) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)        { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}
