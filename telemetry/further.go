package telemetry

import (
	"slices"
	"time"
)

// failoverStatuses are the statuses of a response because of which another backend may be asked.
var failoverStatuses = []string{"429", "502", "503", "504"}

// The reasons of retries. The last two are also reasons of failovers. As outcomes they are upstream_reset.
const (
	StaleConnection = "stale_connection"
	RefusedStream   = "refused_stream"
	GoAway          = "goaway"
)

// NotProcessed are the reasons that mean that the backend has certainly not processed the request.
var NotProcessed = []string{RefusedStream, GoAway}

// RetryReasons returns the reasons of retries.
func RetryReasons() []string { return append([]string{StaleConnection}, NotProcessed...) }

// FailoverReasons returns the reasons of failovers: the words of the outcomes of an attempt that got no response, the
// statuses of responses because of which another backend may be asked, and [NotProcessed].
func FailoverReasons() []string {
	words := WordsOf(outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover != NoFailover }))
	return slices.Concat(words, failoverStatuses, NotProcessed)
}

// OverBudget is an attempt that was not made, because that would have exceeded the budget of its upstream.
type OverBudget struct {
	At       time.Time
	Upstream string
	Reason   string // of the failover or the retry that it would have been
	Attempt  int    // number of the last attempt, from 1
}

// NoFurther is why an attempt that failed, or whose status could have led to another one, was not followed by one.
type NoFurther uint8

// The reasons; the first one that holds.
const (
	NotLast          NoFurther = iota // it was followed by one, or needed none
	NotCalledFor                      // retry.on does not name what it came to
	NotRepeatable                     // bytes were sent, and the method may not be repeated
	BodyNotKept                       // the request's body was used up and not kept
	NoMoreFailovers                   // max_retries allows no more
	AllTried                          // every backend that may be picked and has room was tried
	BudgetExceeded                    // the budget allows no more
	ResponseTooLarge                  // its response was too large to be kept meanwhile
)
