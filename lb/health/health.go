// Package health decides when a backend may be picked: the state machine of one backend. It learns of failed and
// successful attempts, of checks and of what operators order, and returns each change of state as a value with its
// reason in words. It has no timer and no lock: each event brings its time, and the caller orders them.
//
// It must not know HTTP, addresses, OpenTelemetry, or any other package of pace.
package health

import "time"

// State is what a backend is in. Of several that hold, the highest is shown.
type State uint8

// The states.
const (
	Healthy   State = iota
	Starting        // it may be picked again, and gets its whole share only after some time
	Unhealthy       // its checks failed
	Ejected         // requests failed at it, or an operator took it out
	Drained         // an operator took it out, so that it may end
	StateCount
)

var states = [StateCount]string{"healthy", "starting", "unhealthy", "ejected", "drained"}

// String returns the word of the state.
func (s State) String() string { return states[s] }

// StateWords returns the words of all states, in their order.
func StateWords() []string { return states[:] }

// MayBePicked reports whether a backend in this state gets requests.
func (s State) MayBePicked() bool { return s <= Starting }

// By is who caused a change of state.
type By uint8

// Who causes changes.
const (
	Requests By = iota
	Checks
	Operator
)

var causers = [...]string{Requests: "requests", Checks: "check", Operator: "operator"}

// String returns the word for logs.
func (b By) String() string { return causers[b] }

// Transition is a change of state. To may be the same as From: a failed trial is another ejection.
type Transition struct {
	At       time.Time
	From, To State
	Reason   string // in words: "5 connect failures in 2.1 s"
	By       By
}

// Rules say what changes the state of a backend.
type Rules struct {
	Ejection  Ejection
	Checked   bool          // the backend is checked: a check, and no request, is the trial of one that is ejected
	Fall      int           // failed checks in a row that make it unhealthy; 0: 1
	Rise      int           // passed checks in a row that end that; 0: 1
	SlowStart time.Duration // how long a backend that may be picked again is starting; 0: not at all
}

// Ejection says when failed requests eject a backend, and for how long. Most of its zero values mean that nothing does.
type Ejection struct {
	Enabled             bool
	ConsecutiveFailures int           // failures in a row that eject; 0: any number is fine
	FailureShare        float64       // share of failures among the requests of Window that ejects; 0: any share is fine
	MinRequests         int           // below so many requests in Window the share does not count
	Window              time.Duration // 0: the share does not count
	Base                time.Duration // of the first ejection; each further one takes twice as long
	Max                 time.Duration // that an ejection takes, at most; after as long without one the next is a first one
}
