package health

import (
	"math/rand/v2"
	"testing"
	"time"
)

// model is what the machine is to do, said without its economies: it remembers every result, and computes everything
// anew at each event.
type model struct {
	r     *Rules
	start time.Time

	drained, unhealthy     bool
	ejected, byHand, trial bool
	until, ended, started  time.Time
	times, failed, passed  int
	results                []result // since the last ejection or its end
	onProbation            bool     // the trial passed, and nothing has succeeded since
	starting               bool
}

type result struct {
	bucket int64
	ok     bool
}

func (m *model) eject(now time.Time) {
	if !m.ejected && now.Sub(m.ended) >= m.r.Ejection.Max {
		m.times = 0
	}
	length := m.r.Ejection.Base << min(m.times, 20)
	m.times++
	m.ejected, m.byHand, m.trial, m.until = true, false, false, now.Add(min(length, m.r.Ejection.Max))
	m.results, m.onProbation = nil, false
}

func (m *model) readmit(now time.Time) {
	m.ejected, m.byHand, m.trial, m.ended = false, false, false, now
	m.results, m.onProbation = nil, false
}

func (m *model) ends(now time.Time, ok, may bool) {
	if m.ejected {
		return
	}
	at := int64(now.Sub(m.start) / (m.r.Ejection.Window / 10))
	m.results = append(m.results, result{at, ok})
	if ok {
		m.onProbation = false
		return
	}
	streak, all, bad := 0, 0, 0
	for i := len(m.results) - 1; i >= 0 && !m.results[i].ok; i-- {
		streak++
	}
	for _, one := range m.results {
		if one.bucket > at-10 {
			all++
			if !one.ok {
				bad++
			}
		}
	}
	e := &m.r.Ejection
	if may && (m.onProbation || streak >= e.ConsecutiveFailures || all >= e.MinRequests && float64(bad) >= e.FailureShare*float64(all)) {
		m.eject(now)
	}
}

func (m *model) checked(now time.Time, ok bool) {
	if ok {
		m.failed, m.passed = 0, m.passed+1
		m.unhealthy = m.unhealthy && m.passed < m.r.Rise
	} else {
		m.failed, m.passed = m.failed+1, 0
		m.unhealthy = m.unhealthy || m.failed >= m.r.Fall
	}
	if m.ejected && !m.byHand && !now.Before(m.until) {
		if ok {
			m.readmit(now)
			m.onProbation = true
		} else {
			m.eject(now)
		}
	}
}

func (m *model) state(now time.Time, was State) State {
	out := Healthy
	switch {
	case m.drained:
		out = Drained
	case m.ejected:
		out = Ejected
	case m.unhealthy:
		out = Unhealthy
	}
	switch {
	case out != Healthy:
		m.starting = false
	case !was.MayBePicked() && m.r.SlowStart > 0:
		m.starting, m.started = true, now
	}
	if m.starting {
		return Starting
	}
	return out
}

func (m *model) due(now time.Time) bool {
	return m.ejected && !m.byHand && !m.drained && !m.trial && !m.r.Checked && !now.Before(m.until)
}

// Whatever happens, in whatever order, the machine is in the state that the model is in, and each change that it
// returns leads from the state before to the state after.
func TestMachine_IsItsModel(t *testing.T) {
	ejections := 0
	for seed := range uint64(400) {
		random := rand.New(rand.NewPCG(seed, 1))
		r := gentle()
		r.Ejection.Window, r.Ejection.MinRequests = 10*time.Second, 4+random.IntN(8)
		r.Ejection.ConsecutiveFailures, r.Ejection.FailureShare = 2+random.IntN(6), 0.3+random.Float64()/2
		r.Checked, r.Fall, r.Rise = random.IntN(3) == 0, 1+random.IntN(3), 1+random.IntN(3)
		r.SlowStart = []time.Duration{0, 5 * time.Second}[random.IntN(2)]
		now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
		machine, m, total := New(r, now, false), &model{r: r, start: now}, uint32(0)
		for step := range 300 {
			now = now.Add(time.Duration(random.IntN(1500)) * time.Millisecond)
			was, _, _ := machine.State()
			if tr, changed := machine.Tick(r, now); changed {
				was = tr.To
			}
			if m.starting && now.Sub(m.started) >= r.SlowStart {
				m.starting = false
			}
			var tr Transition
			var changed bool
			what := random.IntN(20)
			switch {
			case what < 7:
				if total++; random.IntN(3) > 0 {
					machine.Succeeded(r, now, total)
					m.ends(now, true, true)
					break
				}
				may := random.IntN(4) > 0
				tr, changed = machine.Failed(r, now, refused, total, may)
				m.ends(now, false, may)
			case what < 12:
				if _, due := machine.Due(r, now); due != m.due(now) {
					t.Fatalf("seed %d, step %d: a trial is due: %v, want %v", seed, step, due, m.due(now))
				} else if due {
					machine.BeginTrial()
					m.trial = true
				}
			case what == 12 && m.trial:
				tr, changed = machine.PassTrial(r, now)
				m.readmit(now)
				m.onProbation = true
			case what == 13 && m.trial:
				tr, changed = machine.FailTrial(r, now, refused)
				m.eject(now)
			case what == 14 && m.trial:
				machine.LoseTrial()
				m.trial = false
			case what == 15:
				ok := random.IntN(2) == 0
				tr, changed = machine.Checked(r, now, ok, "no")
				m.checked(now, ok)
			case what == 16:
				tr, changed = machine.Drain(r, now, "x")
				m.drained, m.trial = true, false
			case what == 17:
				tr, changed = machine.Undrain(r, now, "x")
				m.drained = false
			case what == 18 && !m.byHand:
				tr, changed = machine.Eject(r, now, "x")
				m.ejected, m.byHand, m.trial, m.until, m.results, m.onProbation = true, true, false, now, nil, false
			case what == 19 && m.ejected:
				tr, changed = machine.Readmit(r, now, Operator, "x")
				m.readmit(now)
			}
			got, _, _ := machine.State()
			if want := m.state(now, was); got != want {
				t.Fatalf("seed %d, step %d, event %d: got %v, want %v; the machine is %+v", seed, step, what, got, want, machine)
			}
			if changed && (tr.From != was || tr.To != got || tr.Reason == "" || !tr.At.Equal(now)) || !changed && got != was {
				t.Fatalf("seed %d, step %d, event %d: changed %v, %+v, from %v to %v", seed, step, what, changed, tr, was, got)
			}
			if _, _, until := machine.Ejected(); m.ejected && !until.Equal(m.until) {
				t.Fatalf("seed %d, step %d: ejected until %v, want %v", seed, step, until, m.until)
			}
			if got == Ejected && changed {
				ejections++
			}
		}
	}
	if ejections < 1000 {
		t.Errorf("only %d ejections: the events are not those that matter", ejections)
	}
}
