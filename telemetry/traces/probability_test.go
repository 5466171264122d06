package traces

import (
	"context"
	"encoding/hex"
	"math"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// The thresholds are as exact as the ratio is as a float64.
func TestProbability_Threshold(t *testing.T) {
	for ratio, want := range map[float64]string{
		1: "", 0.5: "8", 0.25: "c", 0.75: "4", 1.0 / 16: "f", 1.0 / 256: "ff", 0: "",
		0.1: "e6666666666668", 1.0 / 3: "aaaaaaaaaaaab",
	} {
		if got := newProbability(ratio).th; got != want {
			t.Errorf("ratio %v: got %q, want %q", ratio, got, want)
		}
	}
}

func traceID(t *testing.T, digits string) (id trace.TraceID) {
	t.Helper()
	raw, err := hex.DecodeString(digits)
	if err != nil {
		t.Fatal(err)
	}
	copy(id[:], raw)
	return id
}

func TestProbability_Decision(t *testing.T) {
	const low, high = "00000000000000ff7fffffffffffffff", "ffffffffffffff00ff80000000000000"
	for _, tt := range []struct {
		name          string
		id, state     string
		parent, flags bool
		sampled       bool
		want          string
	}{
		{"a random number below the threshold", "000000000000000000" + "7fffffffffffff", "", false, false, false, ""},
		{"one that is the threshold", "000000000000000000" + "80000000000000", "", false, false, true, "ot=th:8"},
		{"the first 9 bytes of the id do not matter", "ffffffffffffffffff" + "00000000000000", "", false, false, false, ""},
		{"rv goes before the id", low, "ot=rv:80000000000000,vendor=1", true, false, true, "ot=th:8;rv:80000000000000,vendor=1"},
		{"also downwards, and the parent's threshold is not ours", high, "ot=rv:7fffffffffffff;th:1", true, false, false, "ot=rv:7fffffffffffff"},
		{"an id that nobody vouches for gets no threshold", high, "ot=th:1,vendor=1", true, false, true, "vendor=1"},
		{"one that is said to be random does", high, "vendor=1", true, true, true, "ot=th:8,vendor=1"},
		{"an rv that is none is passed over", high, "ot=rv:XYZ", true, false, true, "ot=rv:XYZ"},
		{"so is one in capitals", high, "ot=rv:0000000000000A", true, false, true, "ot=rv:0000000000000A"},
		{"what else ot says stays", high, "ot=a:b;th:0;c:d", true, true, true, "ot=th:8;a:b;c:d"},
	} {
		state, err := trace.ParseTraceState(tt.state)
		if err != nil {
			t.Fatal(err)
		}
		ctx := context.Background()
		if tt.parent {
			c := trace.SpanContextConfig{TraceID: traceID(t, tt.id), SpanID: trace.SpanID{1}, TraceState: state, Remote: true}
			if tt.flags {
				c.TraceFlags = trace.FlagsRandom
			}
			ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(c))
		}
		got := newProbability(0.5).ShouldSample(sdktrace.SamplingParameters{ParentContext: ctx, TraceID: traceID(t, tt.id)})
		if sampled := got.Decision == sdktrace.RecordAndSample; sampled != tt.sampled || got.Tracestate.String() != tt.want {
			t.Errorf("%s: sampled %v with %q, want %v with %q", tt.name, sampled, got.Tracestate.String(), tt.sampled, tt.want)
		}
	}
}

// Who counts 1/p for each sampled trace gets the number of all traces, also through two samplers in a row.
func TestProbability_CountsCanBeWeighted(t *testing.T) {
	const n = 200_000
	first, second := newProbability(0.3), newProbability(0.1)
	count := 0.0
	for range n {
		p := sdktrace.SamplingParameters{ParentContext: context.Background(), TraceID: newTraceID()}
		here, there := first.ShouldSample(p).Decision == sdktrace.RecordAndSample, second.ShouldSample(p).Decision == sdktrace.RecordAndSample
		if there && !here {
			t.Fatal("a sampler that takes fewer took one that the other did not")
		}
		if there {
			count += 1 / second.ratio
		}
	}
	if math.Abs(count-n) > 0.05*n { // seven standard deviations
		t.Errorf("counted %.0f of %d", count, n)
	}
}

func FuzzWithThreshold(f *testing.F) {
	f.Add("ot=th:8;rv:80000000000000,vendor=1", "c")
	f.Add("ot=;;th:,a=b", "")
	f.Add("ot=th", "8")
	f.Fuzz(func(t *testing.T, text, th string) {
		state, err := trace.ParseTraceState(text)
		if err != nil || len(th) > 14 || len(th) > 0 && th != hexOf(th) {
			return
		}
		got := withThreshold(state, th)
		if back, err := trace.ParseTraceState(got.String()); err != nil || back.String() != got.String() {
			t.Fatalf("%q became %q, which is no tracestate: %v", text, got.String(), err)
		}
		state.Walk(func(key, value string) bool {
			if key != otMember && got.Get(key) != value {
				t.Fatalf("%q lost %s", text, key)
			}
			return true
		})
		if again := withThreshold(got, ""); again.Get(otMember) != withThreshold(state, "").Get(otMember) {
			t.Fatalf("%q with and without %q: %q", text, th, again.String())
		}
	})
}

func hexOf(s string) string {
	var b []byte
	for _, c := range []byte(s) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			b = append(b, c)
		}
	}
	return string(b)
}
