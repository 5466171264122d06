package telemetry

import "sync/atomic"

// KeepReason is why an exchange is interesting: its trace is kept although the head of the trace did not
// sample it. The zero value stands for a column of [outcomes] that is missing.
type KeepReason uint8

// The reasons; the first one that holds is the exchange's. Ordinary is none.
const (
	Ordinary       KeepReason = iota + 1
	KeepError                 // a backend or pace failed
	KeepFailover              // another backend had to be asked
	KeepRetry                 // the same backend had to be asked again
	KeepRejected              // pace turned it away, or its body stalled
	KeepClientLeft            // the client left
	KeepSlow                  // it took longer than it should
	KeepReasonCount
)

var keepWords = [KeepReasonCount]string{"", "", "error", "failover", "retry", "rejected", "client_left", "slow"}

// String returns the word of the reason, "" for Ordinary.
func (k KeepReason) String() string { return keepWords[k] }

// KeepReasons returns the reasons, in their order, without Ordinary.
func KeepReasons() (all []KeepReason) {
	for k := KeepError; k < KeepReasonCount; k++ {
		all = append(all, k)
	}
	return all
}

// keepReason says why the exchange is interesting, as far as is known by now.
func (r *Record) keepReason() KeepReason {
	byOutcome := r.Outcome.Info().Keep
	switch {
	case byOutcome == KeepError:
		return KeepError
	case len(r.Failovers) > 0:
		return KeepFailover
	case len(r.Retries) > 0:
		return KeepRetry
	case byOutcome != Ordinary:
		return byOutcome
	case r.Stream == NoStream && r.Slow > 0 && r.End.Sub(r.Start) > r.Slow:
		return KeepSlow
	}
	return Ordinary
}

// Export says whether the trace of an exchange is exported.
type Export uint8

// The decisions.
const (
	Undecided Export = iota
	Sampled          // it is, because the head of the trace says so
	Kept             // it is, because the exchange is interesting
	Dropped          // it is not
)

var exportWords = [...]string{"", "sampled", "kept", "dropped"}

// String returns the word of the decision, "" for Undecided.
func (e Export) String() string { return exportWords[e] }

// Decide decides whether the trace of r is exported, and returns that. The first decision holds, so what
// pace's own response says of the trace is still true at the end. An exchange that is ordinary so far may
// still become slow: for that one the decision is made at its end.
func (t *Telemetry) Decide(r *Record) Export {
	if r.Export != Undecided {
		return r.Export
	}
	r.Reason = r.keepReason()
	e := t.Tracing.Exports(r)
	if e != Dropped || r.Reason != Ordinary {
		r.Export = e
	}
	return e
}

// decideLast is [Telemetry.Decide] at the end. What went wrong after an early decision may change the reason.
func (t *Telemetry) decideLast(r *Record) {
	r.Export = t.Decide(r)
	r.Reason = r.keepReason()
}

// Keeping counts what became of the traces of interesting exchanges that the head did not sample: each of
// them is counted once. Safe for concurrent use.
type Keeping struct {
	kept    [KeepReasonCount]atomic.Int64
	dropped Losses
}

// AddKept counts a trace that the collector accepted.
func (k *Keeping) AddKept(why KeepReason) { k.kept[why].Add(1) }

// AddDropped counts a trace that was dropped.
func (k *Keeping) AddDropped(why Loss) { k.dropped.Add(why, 1) }

// Kept returns how many traces the collector accepted for this reason.
func (k *Keeping) Kept(why KeepReason) int64 { return k.kept[why].Load() }

// Dropped returns how many traces were dropped, and why.
func (k *Keeping) Dropped() *Losses { return &k.dropped }
