package health

import (
	"strings"
	"testing"
	"time"
)

var (
	refused = Failure{"connect failure", "connect failures"}
	sick    = Failure{"response with 503", "responses with 503"}
)

// gentle are the rules by default.
func gentle() *Rules {
	return &Rules{Ejection: Ejection{
		Enabled: true, ConsecutiveFailures: 5, FailureShare: 0.5, MinRequests: 20, Window: 10 * time.Second,
		Base: 10 * time.Second, Max: 5 * time.Minute,
	}}
}

// patient is a machine with its rules, a clock that stands, and its changes so far, one line each.
type patient struct {
	t     *testing.T
	rules *Rules
	m     *Machine
	now   time.Time
	total uint32
	log   []string
}

func newPatient(t *testing.T, r *Rules) *patient {
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	return &patient{t: t, rules: r, m: New(r, now, false), now: now}
}

func (p *patient) note(tr Transition, changed bool) {
	if changed {
		p.log = append(p.log, tr.From.String()+" → "+tr.To.String()+" by "+tr.By.String()+": "+tr.Reason)
	}
}

// do does what the words say, one after another.
func (p *patient) do(words ...string) {
	p.t.Helper()
	for _, w := range words {
		switch w {
		case "ok":
			p.total++
			p.m.Succeeded(p.rules, p.now, p.total)
		case "refused", "503":
			p.total++
			f := map[string]Failure{"refused": refused, "503": sick}[w]
			p.note(p.m.Failed(p.rules, p.now, f, p.total, true))
		case "refused, but others are out":
			p.total++
			p.note(p.m.Failed(p.rules, p.now, refused, p.total, false))
		case "trial":
			if _, due := p.m.Due(p.rules, p.now); !due {
				p.t.Errorf("no trial is due at %s", p.now.Format(time.TimeOnly))
			}
			p.m.BeginTrial()
		case "no trial":
			if _, due := p.m.Due(p.rules, p.now); due {
				p.t.Errorf("a trial is due at %s", p.now.Format(time.TimeOnly))
			}
		case "trial passes":
			p.note(p.m.PassTrial(p.rules, p.now))
		case "trial fails":
			p.note(p.m.FailTrial(p.rules, p.now, refused))
		case "trial lost":
			p.m.LoseTrial()
		case "check passes":
			p.note(p.m.Checked(p.rules, p.now, true, ""))
		case "check fails":
			p.note(p.m.Checked(p.rules, p.now, false, "status 500"))
		case "drain":
			p.note(p.m.Drain(p.rules, p.now, "drained by ops"))
		case "undrain":
			p.note(p.m.Undrain(p.rules, p.now, "undrained by ops"))
		case "eject":
			p.note(p.m.Eject(p.rules, p.now, "ejected by ops"))
		case "readmit":
			p.note(p.m.Readmit(p.rules, p.now, Operator, "readmitted by ops"))
		case "tick":
			p.note(p.m.Tick(p.rules, p.now))
		default:
			d, err := time.ParseDuration(w)
			if err != nil {
				p.t.Fatal(err)
			}
			p.now = p.now.Add(d)
		}
	}
}

func TestMachine(t *testing.T) {
	const fiveRefused = "healthy → ejected by requests: 5 connect failures in less than 1 ms"
	for _, tt := range []struct {
		name  string
		rules func(*Rules)
		do    string // separated by "; "
		want  []string
	}{
		{name: "five failures in a row eject, and the reason says in what time",
			do:   "refused; 500ms; refused; 500ms; refused; 500ms; refused; 600ms; refused; refused",
			want: []string{"healthy → ejected by requests: 5 connect failures in 2.1 s"}},
		{name: "a success between them is a new start",
			do: "refused; refused; refused; refused; ok; refused; refused; refused; refused"},
		{name: "failures of several kinds are counted by kind",
			do:   "refused; 503; 503; 12ms; refused; 503",
			want: []string{"healthy → ejected by requests: 5 failures in 12 ms: 2 connect failures, 3 responses with 503"}},
		{name: "one failure ejects, where that is the number",
			rules: func(r *Rules) { r.Ejection.ConsecutiveFailures = 1 },
			do:    "503", want: []string{"healthy → ejected by requests: 1 response with 503 in less than 1 ms"}},
		{name: "half of twenty requests within the window failed",
			do:   "ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503",
			want: []string{"healthy → ejected by requests: 10 of 20 requests failed within 10 s"}},
		{name: "nineteen requests are too few for a share",
			do: "503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503"},
		{name: "requests before the window do not count",
			do: "ok; 503; ok; 503; ok; 503; ok; 503; ok; 503; 11s; ok; 503; ok; 503; ok; 503; ok; 503; ok; 503"},
		{name: "no number and no share means no ejection",
			rules: func(r *Rules) { r.Ejection.ConsecutiveFailures, r.Ejection.FailureShare = 0, 0 },
			do:    strings.Repeat("503; ", 50) + "503"},
		{name: "where ejection is off, nothing counts",
			rules: func(r *Rules) { r.Ejection.Enabled = false },
			do:    strings.Repeat("503; ", 50) + "503"},
		{name: "it is not ejected while too many others are, and then at the next failure",
			do:   "refused; refused; refused; refused; refused, but others are out; refused, but others are out; refused",
			want: []string{"healthy → ejected by requests: 7 connect failures in less than 1 ms"}},
		{name: "after ten seconds one request is the trial, and lets it in",
			do:   "refused; refused; refused; refused; refused; no trial; 9.9s; no trial; 100ms; trial; no trial; 20ms; trial passes; ok",
			want: []string{fiveRefused, "ejected → healthy by requests: the trial passed, 10 s after the ejection"}},
		{name: "a trial that fails ejects it again, for twice as long each time",
			do:   "refused; refused; refused; refused; refused; 10s; trial; trial fails; 19s; no trial; 1s; trial; trial fails; 39s; no trial; 1s; trial; trial passes",
			want: []string{fiveRefused, "ejected → ejected by requests: the trial failed: connect failure", "ejected → ejected by requests: the trial failed: connect failure", "ejected → healthy by requests: the trial passed, 40 s after the ejection"}},
		{name: "an ejection takes no longer than the maximum",
			rules: func(r *Rules) { r.Ejection.Max = 15 * time.Second },
			do:    "refused; refused; refused; refused; refused; 10s; trial; trial fails; 14s; no trial; 1s; trial; trial fails; 15s; trial; trial passes",
			want:  []string{fiveRefused, "ejected → ejected by requests: the trial failed: connect failure", "ejected → ejected by requests: the trial failed: connect failure", "ejected → healthy by requests: the trial passed, 15 s after the ejection"}},
		{name: "the next ejection soon after takes twice as long, one much later does not",
			do: "refused; refused; refused; refused; refused; 10s; trial; trial passes; ok; refused; refused; refused; refused; refused; 19s; no trial; 1s; trial; trial passes; ok; 5m; refused; refused; refused; refused; refused; 10s; trial",
			want: []string{fiveRefused, "ejected → healthy by requests: the trial passed, 10 s after the ejection",
				fiveRefused, "ejected → healthy by requests: the trial passed, 20 s after the ejection", fiveRefused}},
		{name: "a trial whose client left is no trial",
			do:   "refused; refused; refused; refused; refused; 10s; trial; trial lost; trial; trial passes",
			want: []string{fiveRefused, "ejected → healthy by requests: the trial passed, 10 s after the ejection"}},
		{name: "a response that ends badly after a passed trial ejects at once",
			do:   "refused; refused; refused; refused; refused; 10s; trial; trial passes; 50ms; 503",
			want: []string{fiveRefused, "ejected → healthy by requests: the trial passed, 10 s after the ejection", "healthy → ejected by requests: 1 response with 503 in less than 1 ms, right after the trial"}},
		{name: "what ends while it is ejected changes nothing",
			do:   "refused; refused; refused; refused; refused; refused; ok; 503; trial passes; trial fails",
			want: []string{fiveRefused}},
		{name: "checks take it out and let it in",
			rules: func(r *Rules) { r.Checked, r.Fall, r.Rise = true, 3, 2 },
			do:    "check fails; check fails; check passes; check fails; check fails; check fails; check fails; check passes; check fails; check passes; check passes",
			want: []string{"healthy → unhealthy by check: 3 checks in a row failed, the last one: status 500",
				"unhealthy → healthy by check: 2 checks in a row passed"}},
		{name: "where there are checks, a check is the trial",
			rules: func(r *Rules) { r.Checked, r.Fall, r.Rise = true, 3, 2 },
			do:    "refused; refused; refused; refused; refused; check passes; 10s; no trial; check fails; 10s; check passes; 10s; check passes",
			want:  []string{fiveRefused, "ejected → ejected by check: the check failed: status 500", "ejected → healthy by check: the check passed, 20 s after the ejection"}},
		{name: "what is let in and still unhealthy is unhealthy",
			rules: func(r *Rules) { r.Checked, r.Fall, r.Rise = true, 1, 2 },
			do:    "refused; refused; refused; refused; refused; check fails; 10s; check passes; check passes",
			want: []string{fiveRefused, "ejected → unhealthy by check: the check passed, 10 s after the ejection; still unhealthy: a check failed: status 500",
				"unhealthy → healthy by check: 2 checks in a row passed"}},
		{name: "a drain hides all else, and ends with what still holds",
			do:   "drain; drain; refused; refused; refused; refused; refused; 1h; no trial; undrain; trial; trial passes",
			want: []string{"healthy → drained by operator: drained by ops", "drained → ejected by operator: undrained by ops; still ejected: 5 connect failures in less than 1 ms", "ejected → healthy by requests: the trial passed, 1h0m0s after the ejection"}},
		{name: "a drain ends",
			do:   "drain; undrain; undrain",
			want: []string{"healthy → drained by operator: drained by ops", "drained → healthy by operator: undrained by ops"}},
		{name: "an operator's ejection lasts until an operator ends it",
			do:   "eject; eject; 1h; no trial; refused; check passes; readmit; readmit",
			want: []string{"healthy → ejected by operator: ejected by ops", "ejected → healthy by operator: readmitted by ops"}},
		{name: "an operator makes an ejection last, or ends it",
			do: "refused; refused; refused; refused; refused; eject; 1h; no trial; readmit; refused; refused; refused; refused; refused; readmit; ok",
			want: []string{fiveRefused, "ejected → ejected by operator: ejected by ops", "ejected → healthy by operator: readmitted by ops",
				fiveRefused, "ejected → healthy by operator: readmitted by ops"}},
		{name: "what may be picked again starts slowly",
			rules: func(r *Rules) { r.SlowStart = 30 * time.Second },
			do:    "tick; drain; undrain; 29s; tick; 1s; tick; tick; refused; refused; refused; refused; refused; 10s; trial; trial passes; refused",
			want: []string{"healthy → drained by operator: drained by ops", "drained → starting by operator: undrained by ops", "starting → healthy by operator: it has started, in 30 s",
				fiveRefused, "ejected → starting by requests: the trial passed, 10 s after the ejection", "starting → ejected by requests: 1 connect failure in less than 1 ms, right after the trial"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := gentle()
			if tt.rules != nil {
				tt.rules(r)
			}
			p := newPatient(t, r)
			p.do(strings.Split(tt.do, "; ")...)
			if got, want := strings.Join(p.log, "\n"), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("changes:\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// Whoever sets a timer by Next misses nothing.
func TestNext(t *testing.T) {
	r := gentle()
	r.SlowStart = 20 * time.Second
	p := newPatient(t, r)
	if at := p.m.Next(r, p.now); !at.IsZero() {
		t.Errorf("a healthy backend changes by itself at %v", at)
	}
	p.do("refused", "refused", "refused", "refused", "refused")
	if at := p.m.Next(r, p.now); at != p.now.Add(10*time.Second) {
		t.Errorf("the trial is due at %v", at)
	}
	p.do("10s", "trial", "trial passes", "ok")
	for step := 1; step < Steps; step++ {
		if got := p.m.Step(r, p.now); got != step {
			t.Errorf("step %d, want %d", got, step)
		}
		at := p.m.Next(r, p.now)
		if at != p.now.Add(2*time.Second) {
			t.Fatalf("after step %d the next one is at %v, now is %v", step, at, p.now)
		}
		p.do("2s", "tick")
	}
	p.do("2s", "tick")
	if state, since, _ := p.m.State(); state != Healthy || since != p.now || p.m.Step(r, p.now) != Steps || !p.m.Next(r, p.now).IsZero() {
		t.Errorf("%v since %v at step %d, next %v", state, since, p.m.Step(r, p.now), p.m.Next(r, p.now))
	}
}

// A backend that comes late starts slowly, and that is no change of state.
func TestNew_Late(t *testing.T) {
	r := gentle()
	r.SlowStart = time.Second
	now := time.Now()
	m := New(r, now, true)
	if state, _, reason := m.State(); state != Starting || reason == "" || m.Step(r, now) != 1 {
		t.Errorf("%v at step %d because of %q", state, m.Step(r, now), reason)
	}
}
