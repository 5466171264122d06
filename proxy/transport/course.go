package transport

import "sync"

// Course is how far an exchange has come, as every transport records it. A transport embeds it in the state of its
// exchange, and Mu guards what the transport adds, too.
type Course struct {
	Mu       sync.Mutex // guards what follows
	Phase    Phase
	Final    bool        // the final header has come: no phase is reported after it
	Cause    *Error      // why the exchange ended: the first reason in time
	onPhase  func(Phase) // nil: nobody asks, or the exchange is over
	passedOn bool        // Cause is a panic, and Do, Next or Close has passed it on
}

// Begin resets the course for a request. Nobody else may use it yet.
func (c *Course) Begin(req *Request) {
	c.Phase, c.Final, c.Cause, c.onPhase, c.passedOn = 0, false, nil, req.OnPhase, false
}

// Enter begins a phase.
func (c *Course) Enter(p Phase) {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	c.EnterLocked(p)
}

// EnterLocked is Enter for a caller that holds Mu. OnPhase runs under the lock, so that two goroutines cannot call it at
// once.
func (c *Course) EnterLocked(p Phase) {
	if c.Final || c.Phase == p {
		return
	}
	c.Phase = p
	c.reportLocked()
}

// RepeatPhase reports the present phase to OnPhase again, since On1xx may have entered another one.
func (c *Course) RepeatPhase() {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if !c.Final {
		c.reportLocked()
	}
}

func (c *Course) reportLocked() {
	if c.onPhase != nil {
		c.onPhase(c.Phase)
	}
}

// EndLocked has no phase reported any more: the caller takes its request back. Mu is held.
func (c *Course) EndLocked() { c.onPhase = nil }

// Raise returns err, which ended the exchange. If that was a panic on another goroutine, Raise panics with it.
func (c *Course) Raise(err error) error {
	if bug := c.Bug(); bug != nil {
		panic(bug)
	}
	return err
}

// Bug returns the panic that ended the exchange, once.
func (c *Course) Bug() error {
	c.Mu.Lock()
	defer c.Mu.Unlock()
	if c.Cause == nil || c.Cause.Kind != Panicked || c.passedOn {
		return nil
	}
	c.passedOn = true
	return c.Cause.Err
}
