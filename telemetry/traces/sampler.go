package traces

import (
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry/environment"
)

// headSampler passes each question to the sampler in force, which may be replaced at any time.
type headSampler struct {
	inForce atomic.Pointer[sdktrace.Sampler]
}

// ShouldSample implements [sdktrace.Sampler].
func (s *headSampler) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	return (*s.inForce.Load()).ShouldSample(p)
}

// Description implements [sdktrace.Sampler].
func (s *headSampler) Description() string { return (*s.inForce.Load()).Description() }

// newSampler returns the sampler that the environment names, or else one that samples ratio (0 to 1) of the
// traces that begin here, and follows the parent of all others.
func newSampler(env environment.Environment, ratio float64) (sdktrace.Sampler, error) {
	if env.Disabled {
		return sdktrace.NeverSample(), nil
	}
	name := env.Sampler
	if name == "" {
		return sdktrace.ParentBased(newProbability(ratio)), nil
	}
	if arg := env.SamplerArg; arg == "" {
		ratio = 1
	} else if r, err := strconv.ParseFloat(arg, 64); err == nil && r >= 0 && r <= 1 {
		ratio = r
	} else if strings.HasSuffix(name, "traceidratio") {
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER_ARG: %q is not a ratio; write a number from 0 to 1", arg)
	}
	base, parentBased := strings.CutPrefix(name, "parentbased_")
	var s sdktrace.Sampler
	switch base {
	case "always_on":
		s = sdktrace.AlwaysSample()
	case "always_off":
		s = sdktrace.NeverSample()
	case "traceidratio":
		s = newProbability(ratio)
	default:
		return nil, fmt.Errorf("OTEL_TRACES_SAMPLER: unknown sampler %q; write always_on, always_off, traceidratio, or one of them after parentbased_", name)
	}
	if parentBased {
		s = sdktrace.ParentBased(s)
	}
	return s, nil
}
