package upstream

import (
	"slices"

	"pace/lb"
	"pace/proxy/transport"
)

// Step is the next attempt to make: a failover, or a retry on a new connection.
type Step struct {
	Backend *Backend // nil: none
	Fresh   bool     // a retry: on a new connection
	Reason  string   // why this backend, if it is not the policy's first choice; ""
	Trial   bool     // it is the trial of a backend that is ejected
	Full    bool     // there is none only because all have as many requests or connections as they may
}

// Reasons why a backend is picked that is not the policy's first choice, beside those of lb.
const (
	pickedByLogin  = "login"    // the client has logged in at it, on a connection that is kept for that
	pickedByCookie = "sticky"   // the client's cookie names it
	pickedAsNext   = "failover" // others failed
	pickedAsTrial  = "trial"    // it is ejected, and this request shows whether it works again
	pickedInPanic  = "panic"    // no backend may be picked, so all are that are not drained
)

// Tries are the attempts of a request so far.
type Tries struct {
	At        []*lb.Backend // in order; at least one
	Failovers int
	Retries   int
}

// Next decides what follows an attempt that failed with e, where another one may be made at all. Failovers
// are bounded by the configuration; a retry is made at most once, and only where the backend may have closed
// an idle connection in the moment pace took it (docs/interface.md, "Attempts, failovers, retries"). The request is
// in flight at the backend until the caller calls [Backend.End], once.
func (u *Upstream) Next(t Tries, e *transport.Error) Step {
	if t.Failovers < u.o.Failovers {
		if b := u.pickFurther(t.At); b != nil {
			return u.picked(Step{Backend: b, Reason: pickedAsNext})
		}
	}
	last := t.At[len(t.At)-1]
	if e.Kind == transport.Reset && e.Reused && !e.Responded && t.Retries == 0 && reserve(last) {
		return Step{Backend: owner(last), Fresh: true}
	}
	return Step{}
}

// pickFurther picks a backend that was not tried: one that may be picked, or else one that is out and not drained. What
// has failed at all the others has a better chance there than none.
func (u *Upstream) pickFurther(tried []*lb.Backend) *Backend {
	r := lb.Request{Tried: tried, Reserve: reserve}
	if b := u.pool.Pick(r).Backend; b != nil {
		return owner(b)
	}
	return owner(u.out.Pick(r).Backend)
}

// idempotent are the methods that RFC 9110 §9.2.2 allows to repeat, and QUERY, which is safe.
var idempotent = []string{"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "QUERY"}

// Idempotent reports whether a request with this method may be done twice.
func Idempotent(method string) bool { return slices.Contains(idempotent, method) }

// MayRepeat reports whether a request that failed with e may be sent once more: either nothing of it was
// written, or its method is idempotent. Whether its body is used up the caller knows.
func MayRepeat(method string, e *transport.Error) bool { return e.BytesSent == 0 || Idempotent(method) }
