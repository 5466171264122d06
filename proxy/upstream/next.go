package upstream

import (
	"math/rand/v2"
	"slices"
	"time"

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

// RetryOptions say when an attempt is followed by another one. The zero value allows none after the first, but that
// a retry follows an attempt on a stale connection.
type RetryOptions struct {
	On        []string      // what an attempt must have come to, in words; nil: DefaultOn
	Failovers int           // of one request
	Budget    float64       // further attempts in any 10 s as a share of the requests; 30 more are allowed
	Backoff   time.Duration // longest pause before the second attempt, doubled before each further one
	MaxKept   int64         // bytes of a request's body that may be kept to be sent again
}

// The words of RetryOptions that have a meaning here.
const (
	connectFailed = "connect_failed"
	upstreamReset = "upstream_reset"
)

// DefaultOn is what is followed by another attempt, if nothing else is configured: the backend has most likely not
// begun to work on the request.
var DefaultOn = []string{connectFailed, "connect_timeout", upstreamReset}

// impliedBy has the words of failures that are much the same as another one, and on whose word they are repeated as
// well: they happen before there is a connection that could be used, and nothing was sent; or the backend has ended the
// stream or the connection, and says that it has not processed the request.
var impliedBy = map[string]string{"tls_failed": connectFailed, "dns_failed": connectFailed, "exhausted": connectFailed,
	"overload": connectFailed, "refused_stream": upstreamReset, "goaway": upstreamReset}

// Repeats reports whether an attempt that came to this may be followed by another one.
func (u *Upstream) Repeats(reason string) bool {
	return slices.Contains(u.o.Retry.On, reason) || slices.Contains(u.o.Retry.On, impliedBy[reason])
}

// RepeatsReset reports whether an attempt whose connection was lost may be followed by another one.
func (u *Upstream) RepeatsReset() bool { return u.repeatsReset }

// MaxKept is how many bytes of a request's body may be kept to be sent again. If the request may not be done twice, that is
// only of use where a backend can say that it has not processed it.
func (u *Upstream) MaxKept(idempotent bool) int64 {
	if !idempotent && !u.mayRefuse {
		return 0
	}
	return u.o.Retry.MaxKept
}

// Tries are the attempts of a request so far.
type Tries struct {
	At        []*lb.Backend // in order; at least one
	Failovers int
	Retries   int
}

// Further says whether another attempt may follow, and which.
type Further uint8

// What may follow.
const (
	NotCalledFor    Further = iota // none: the configuration does not name what the attempt came to
	NoMoreFailovers                // none: as many were made as are allowed
	AllTried                       // none: each backend that has room was tried
	OverBudget                     // none: the budget allows no more
	Failover                       // an attempt at another backend
	Retry                          // an attempt on a new connection to the same backend
)

// Further decides what may follow an attempt that came to reason, where its request may be repeated at all; e is nil
// if there was a response. Failovers are bounded by the configuration; a retry is made at most once, and only where
// the backend may have closed an idle connection in the moment pace took it (docs/interface.md, "Attempts,
// failovers, retries"), or says by HTTP/2 that it has not processed the request. What is allowed is charged to the
// budget.
func (u *Upstream) Further(t Tries, reason string, e *transport.Error, now time.Time) Further {
	if !u.Repeats(reason) {
		return NotCalledFor
	}
	next := Failover
	switch {
	case t.Failovers >= u.o.Retry.Failovers:
		next = NoMoreFailovers
	case !u.anyBut(t.At):
		next = AllTried
	}
	stale := e != nil && (e.Kind == transport.Reset && e.Reused && !e.Responded || e.Kind.NotProcessed()) && t.Retries == 0
	if stale && (next != Failover || !anyOf(&u.pool, t.At)) { // this backend has a better chance than one that is out
		next = Retry
	}
	if (next == Failover || next == Retry) && !u.budget.attempt(now) {
		return OverBudget
	}
	return next
}

// anyBut reports whether there is a backend for pickFurther.
func (u *Upstream) anyBut(tried []*lb.Backend) bool {
	return anyOf(&u.pool, tried) || anyOf(&u.out, tried)
}

// anyOf reports whether p has a backend that was not tried and has room.
func anyOf(p *lb.Pool, tried []*lb.Backend) bool {
	return slices.ContainsFunc(p.Backends(), func(b *lb.Backend) bool { return !slices.Contains(tried, b) && hasRoom(b) })
}

// Next returns the attempt that Further has allowed. Its Backend is nil if none of the backends has room now, or the
// last one has left. The request is in flight at the backend until the caller calls [Backend.End], once.
func (u *Upstream) Next(t Tries, f Further) Step {
	if last := t.At[len(t.At)-1]; f == Retry && reserve(last) {
		return Step{Backend: owner(last), Fresh: true}
	} else if f == Retry {
		return Step{}
	}
	b := u.pickFurther(t.At)
	if b == nil {
		return Step{}
	}
	return u.picked(Step{Backend: b, Reason: pickedAsNext})
}

// maxBackoff is the longest pause before an attempt.
const maxBackoff = time.Minute

// Backoff returns how long to wait before the nth attempt after a request's first, from 1: as long as chance has it,
// so that the requests that failed together do not come back together.
func (u *Upstream) Backoff(n int) time.Duration {
	limit := u.o.Retry.Backoff
	for ; n > 1 && limit < maxBackoff; n-- {
		limit *= 2
	}
	if limit <= 0 {
		return 0
	}
	return rand.N(min(limit, maxBackoff) + 1)
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

// MayRepeat reports whether a request of which an attempt has sent so many bytes may be sent once more: either
// nothing of it was written, or its method is idempotent. Whether its body is used up the caller knows.
func MayRepeat(method string, sent int64) bool { return sent == 0 || Idempotent(method) }
