package traces

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// probability samples a share of the traces, consistently (OpenTelemetry, "TraceState: Probability
// Sampling"): each trace has a random number R of 56 bits, which all samplers on its way see, and is
// sampled if R is not below the sampler's threshold T. A sampled trace carries T as th in the member ot of
// its tracestate, so that who counts traces knows how many each one stands for.
type probability struct {
	ratio     float64
	threshold uint64
	th        string           // the threshold as it is written; "": all are sampled, so there is nothing to say
	alone     trace.TraceState // that of a new trace
}

const (
	randomBits = 56
	otMember   = "ot"
)

func newProbability(ratio float64) *probability {
	p := &probability{ratio: ratio}
	p.threshold = uint64(math.Round((1 - ratio) * (1 << randomBits)))
	if ratio > 0 && p.threshold > 0 {
		p.th = strings.TrimRight(fmt.Sprintf("%014x", p.threshold), "0")
		p.alone = withThreshold(trace.TraceState{}, p.th)
	}
	return p
}

// Description implements sdktrace.Sampler.
func (p *probability) Description() string {
	return "TraceIDRatioBased{" + strconv.FormatFloat(p.ratio, 'g', -1, 64) + "}"
}

// ShouldSample implements sdktrace.Sampler.
func (p *probability) ShouldSample(s sdktrace.SamplingParameters) sdktrace.SamplingResult {
	parent := trace.SpanContextFromContext(s.ParentContext)
	state := parent.TraceState()
	random, vouched := randomness(s.TraceID, state, !parent.IsValid() || parent.TraceFlags()&trace.FlagsRandom != 0)
	result := sdktrace.SamplingResult{Decision: sdktrace.Drop}
	if p.ratio > 0 && random >= p.threshold {
		result.Decision = sdktrace.RecordAndSample
	}
	switch {
	case result.Decision == sdktrace.Drop || !vouched || p.th == "":
		result.Tracestate = withThreshold(state, "")
	case state.Len() == 0:
		result.Tracestate = p.alone
	default:
		result.Tracestate = withThreshold(state, p.th)
	}
	return result
}

// randomness returns the trace's random number, and whether somebody vouches for it: who wrote rv into the
// tracestate, or set the flag that says that the id is random.
func randomness(id trace.TraceID, state trace.TraceState, flagged bool) (n uint64, vouched bool) {
	for field := range strings.SplitSeq(state.Get(otMember), ";") {
		if digits, ok := strings.CutPrefix(field, "rv:"); ok && len(digits) == randomBits/4 {
			if n, err := strconv.ParseUint(digits, 16, 64); err == nil && strings.ToLower(digits) == digits {
				return n, true
			}
		}
	}
	return binary.BigEndian.Uint64(id[8:]) & (1<<randomBits - 1), flagged
}

// withThreshold returns state with th as its only threshold; "": with none. A trace that is sampled for
// another reason than by chance must carry none.
func withThreshold(state trace.TraceState, th string) trace.TraceState {
	was := state.Get(otMember)
	if th == "" && !strings.Contains(was, "th:") {
		return state
	}
	var fields []string
	if th != "" {
		fields = append(fields, "th:"+th)
	}
	for field := range strings.SplitSeq(was, ";") {
		if field != "" && !strings.HasPrefix(field, "th:") {
			fields = append(fields, field)
		}
	}
	if len(fields) == 0 {
		return state.Delete(otMember)
	}
	next, err := state.Insert(otMember, strings.Join(fields, ";"))
	if err != nil { // too long with the threshold: rather none than a wrong one
		return state.Delete(otMember)
	}
	return next
}
