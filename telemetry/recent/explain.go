package recent

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"pace/telemetry"
)

// Explain tells an ended exchange in sentences, in the order in which it happened. Each sentence says what the record
// knows, and nothing else.
func Explain(r *telemetry.Record) []string {
	s := &story{r: r}
	s.came()
	s.limits()
	for _, m := range r.Mirrored {
		s.say("A copy of it was sent to the upstream %s, and the response to that is dropped.", m.Upstream)
	}
	for i := range r.Attempts {
		s.attempt(i)
	}
	s.pauses()
	s.response()
	s.left()
	s.stream()
	s.ended()
	s.own()
	return s.sentences
}

// story collects the sentences about a record.
type story struct {
	r         *telemetry.Record
	sentences []string
}

func (s *story) say(format string, args ...any) {
	s.sentences = append(s.sentences, fmt.Sprintf(format, args...))
}

// came says who asked for what, and when.
func (s *story) came() {
	r := s.r
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s came", telemetry.Printable(r.Method), telemetry.Printable(cmp.Or(r.Path, "(no path)")))
	if r.Client != "" {
		b.WriteString(" from " + telemetry.Printable(r.Client))
	}
	if r.Peer != "" && r.Peer != r.Client {
		b.WriteString(" through " + telemetry.Printable(r.Peer))
	}
	if r.Protocol != "" {
		b.WriteString(" over HTTP/" + r.Protocol)
	}
	if r.GRPC {
		b.WriteString(" as a gRPC call")
	}
	if r.GRPCTimeout > 0 {
		b.WriteString(" whose client waits for " + span(r.GRPCTimeout) + " (grpc-timeout)")
	}
	s.say("%s at %s.", b.String(), r.Start.Format("15:04:05.000"))
}

// limits says which limits let it pass, and which did not.
func (s *story) limits() {
	for _, p := range s.r.Passed {
		s.say("%s let it pass (%d of %d used).", limitNamed(p.Policy), p.Used, p.Limit)
	}
	for _, l := range s.r.Limited {
		s.say("%s rejected it: it allows %d requests in %s for each %s, and they were used. The next one can pass after %s.",
			limitNamed(l.Policy), l.Limit, span(l.Window), l.KeyKind, span(l.RetryAfter))
	}
}

// limitNamed is what a sentence calls a limit; the one of the short form needs no name.
func limitNamed(policy string) string {
	if policy == "default" {
		return "The limit"
	}
	return "The limit " + policy
}

// attempt says what became of an attempt, and why the next one was made, or none.
func (s *story) attempt(i int) {
	a := &s.r.Attempts[i]
	switch a.PickReason {
	case "trial":
		s.say("%s was ejected and its time was up, so this request was its trial.", a.Backend)
	case "panic":
		s.say("No backend might be picked, so pace asked one nevertheless (panic).")
	}
	begin := fmt.Sprintf("Attempt %d, at %s,", i+1, a.Backend)
	waited := ""
	if a.Waited >= time.Microsecond {
		waited = fmt.Sprintf(", of which %s were spent waiting for its first byte", span(a.Waited))
	}
	failed := a.Failure != telemetry.Unset
	theirs := a.Failure.Info().Side == telemetry.ClientSide
	switch {
	case a.Status > 0:
		s.say("%s answered %d after %s%s.", begin, a.Status, span(a.Responded.Sub(a.Start)), waited)
		if failed {
			s.say("It failed %s later, in the body of its response: %s.", span(a.End.Sub(a.Responded)), why(a))
		}
		s.code(a)
	case failed && theirs:
		s.say("%s was given up after %s%s: %s.", begin, span(a.End.Sub(a.Start)), waited, a.Failure.Info().Cause)
	case failed:
		s.say("%s failed after %s%s: %s.", begin, span(a.End.Sub(a.Start)), waited, why(a))
	default:
		s.say("%s ended after %s without a response%s.", begin, span(a.End.Sub(a.Start)), waited)
	}
	s.ejected(i)
	if !theirs {
		s.next(i)
	}
}

// code says with which code a backend ended a gRPC call, and what it said about that.
func (s *story) code(a *telemetry.Attempt) {
	if a.GRPCCode == telemetry.NoGRPCCode {
		return
	}
	said := ""
	if a.Error != "" {
		said = ": " + strings.TrimRight(telemetry.Printable(a.Error), ".")
	}
	s.say("It ended the call with the gRPC status %d (%s)%s.", a.GRPCCode.Number(), a.GRPCCode, said)
}

// ejected says that an attempt was the last straw.
func (s *story) ejected(i int) {
	a := &s.r.Attempts[i]
	for _, e := range s.r.Ejected {
		next := i+1 < len(s.r.Attempts) && !e.At.Before(s.r.Attempts[i+1].Start)
		if e.Backend == a.Backend && !e.At.Before(a.Start) && !next {
			s.say("That ejected %s: %s.", e.Backend, e.Reason)
		}
	}
}

// why is the error of an attempt, in the words of the system if it has some.
func why(a *telemetry.Attempt) string {
	return strings.TrimRight(cmp.Or(telemetry.Printable(a.Error), a.Failure.Info().Cause), ".")
}

// next says what followed a failed attempt.
func (s *story) next(i int) {
	r, a := s.r, &s.r.Attempts[i]
	method := telemetry.Printable(r.Method)
	for _, f := range r.Failovers {
		if f.Attempt != i+1 {
			continue
		}
		because := ""
		if a.Failure == telemetry.Unset {
			because = fmt.Sprintf(" because of the %s", f.Reason)
		}
		switch {
		case slices.Contains(telemetry.NotProcessed, f.Reason):
			s.say("pace failed over to %s: %s.", f.To, unprocessedWords[f.Reason])
		case f.BytesSent == 0 && r.Repeatable:
			s.say("pace failed over to %s%s: %s is safe to repeat and nothing had been sent.", f.To, because, method)
		case f.BytesSent == 0:
			s.say("pace failed over to %s%s: nothing had been sent.", f.To, because)
		default:
			s.say("pace failed over to %s%s: %s is safe to repeat, although %s had been sent.", f.To, because, method, size(f.BytesSent))
		}
		return
	}
	for _, y := range r.Retries {
		if y.Attempt == i+1 {
			s.say("pace retried it there on a new connection: %s.", cmp.Or(unprocessedWords[y.Reason], "the reused one had been closed before any byte of a response"))
			return
		}
	}
	if i == len(r.Attempts)-1 {
		s.noFurther(a)
	}
}

// unprocessedWords say how a backend has said that it had not processed a request.
var unprocessedWords = map[string]string{
	telemetry.RefusedStream: "the backend had refused the stream, and said that it had not processed the request",
	telemetry.GoAway:        "the backend was ending the old connection, and said that it had not processed the request",
}

// noFurther says why no attempt followed the last one, if another one could have been called for.
func (s *story) noFurther(a *telemetry.Attempt) {
	why := ""
	switch s.r.NoFurther {
	case telemetry.NotCalledFor:
		why = fmt.Sprintf("retry.on of the upstream does not name %s", a.Failure)
	case telemetry.NotRepeatable:
		why = fmt.Sprintf("%s is not safe to repeat, and %s had been sent", telemetry.Printable(s.r.Method), size(a.BytesSent))
	case telemetry.BodyNotKept:
		why = "the request's body had been read and not kept, as it never is for " + telemetry.Printable(s.r.Method)
		if s.r.Repeatable || a.Protocol == "2" {
			why = "the request's body had been read and not kept: retry.max_replay_bytes says up to which size pace keeps one"
		}
	case telemetry.NoMoreFailovers:
		why = "max_retries allows no more"
	case telemetry.AllTried:
		why = "none was left"
	case telemetry.BudgetExceeded:
		why = "the budget of the upstream for further attempts was used up (retry.budget)"
	case telemetry.ResponseTooLarge:
		why = "its response was too large to be kept meanwhile"
	default:
		return
	}
	s.say("pace asked no other backend: %s.", why)
}

// pauses says how long pace waited before further attempts.
func (s *story) pauses() {
	r := s.r
	if d := r.Phases[telemetry.Pick]; d >= time.Millisecond && len(r.Attempts) > 0 {
		s.say("It paused for %s before further attempts (retry.backoff).", span(d))
	}
}

// response says what the client got, and how long that took.
func (s *story) response() {
	r := s.r
	last := &telemetry.Attempt{}
	if n := len(r.Attempts); n > 0 {
		last = &r.Attempts[n-1]
	}
	if n := r.Delivered; n > 0 {
		last = &r.Attempts[n-1]
		s.say("The client got the response of attempt %d, because no later one had any.", n)
	}
	switch {
	case last.Status > 0 && r.Stream == telemetry.NoStream && r.BytesOut > 0:
		s.say("The response's %s took %s.", size(r.BytesOut), span(r.Phases[telemetry.Receive]+r.Phases[telemetry.Deliver]))
	case last.Status == 0 && r.Outcome.Info().Sentence != "" && r.GRPCCode == telemetry.NoGRPCCode:
		s.say("pace responded %d itself.", r.Status)
	}
	if r.GRPCCode != telemetry.NoGRPCCode && r.GRPCCode != last.GRPCCode {
		s.say("pace ended the call itself, with the gRPC status %d (%s).", r.GRPCCode.Number(), r.GRPCCode)
	}
}

// left says when the client left.
func (s *story) left() {
	r := s.r
	switch {
	case !r.ClientLeft():
	case r.Outcome == telemetry.ClientGone:
		s.say("The client left after %s, in the phase %s: before it got any response.", span(r.End.Sub(r.Start)), r.LeftIn)
	default:
		s.say("The client left after %s, in the phase %s: it had been sent %s of the response's body.", span(r.End.Sub(r.Start)), r.LeftIn, size(r.BytesOut))
	}
}

// stream says what became of a stream.
func (s *story) stream() {
	r := s.r
	if r.Stream == telemetry.NoStream {
		return
	}
	s.say("It became a stream (%s) after %s, which lived for %s, received %s from the client and sent it %s, and ended as %s.",
		r.Stream, span(r.Streamed.Sub(r.Start)), span(r.End.Sub(r.Streamed)), size(r.BytesIn), size(r.BytesOut), cmp.Or(r.Closed.String(), "not known"))
}

// ended says how it ended, who caused that and what to do.
func (s *story) ended() {
	r, info := s.r, s.r.Outcome.Info()
	took := span(r.End.Sub(r.Start))
	if info.Side == telemetry.NoSide {
		s.say("It ended as %s after %s.", info.Word, took)
	} else {
		s.say("It ended as %s after %s, because of %s: %s.", info.Word, took, sideNamed(info.Side), info.Cause)
		s.say("Remedy: %s.", info.Remedy)
	}
	if r.Reason == telemetry.KeepSlow {
		s.say("That is slow: it took longer than %s.", span(r.Slow))
	}
}

// sideNamed is what a sentence calls a side.
func sideNamed(s telemetry.Side) string {
	switch s {
	case telemetry.LimiterSide:
		return "a limit (side: limiter)"
	case telemetry.PaceSide:
		return "pace itself (side: pace)"
	}
	return fmt.Sprintf("the %s (side: %s)", s, s)
}

// own says how long pace itself took, and what became of the trace.
func (s *story) own() {
	s.say("pace itself took %s.", span(s.r.Phases[telemetry.Own]))
	switch s.r.Export {
	case telemetry.Sampled:
		s.say("Its trace %s is exported: it was sampled.", s.r.Trace)
	case telemetry.Kept:
		s.say("Its trace %s is exported: it is kept (%s).", s.r.Trace, s.r.Reason)
	default:
		s.say("Its trace %s is not exported.", s.r.Trace)
	}
}

// span is a duration in the unit that suits it.
func span(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case d < 10*time.Microsecond:
		return "less than 0.01 ms"
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= time.Second:
		return short(d.Seconds()) + " s"
	}
	return short(ms) + " ms"
}

// short writes n with about three digits.
func short(n float64) string {
	digits := 0
	switch {
	case n < 1:
		digits = 2
	case n < 100:
		digits = 1
	}
	s := strconv.FormatFloat(n, 'f', digits, 64)
	if digits > 0 {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}

// size is a number of bytes in the unit that suits it.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1000_000:
		return short(float64(n)/1000) + " kB"
	case n < 1000_000_000:
		return short(float64(n)/1000_000) + " MB"
	}
	return short(float64(n)/1000_000_000) + " GB"
}
