package traces

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"go.opentelemetry.io/contrib/propagators/autoprop"
	"go.opentelemetry.io/otel/trace"
)

func TestExtract_TracestateIsOneList(t *testing.T) {
	many := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf("k%d=1", i))
		}
		return strings.Join(list, ",")
	}
	tests := []struct {
		name  string
		lines []string
		want  string
	}{
		{"one line", []string{"a=1,b=2"}, "a=1,b=2"},
		{"several lines", []string{"a=1", "b=2,c=3"}, "a=1,b=2,c=3"},
		{"an empty line among them", []string{"a=1", "", "b=2"}, "a=1,b=2"},
		{"empty members", []string{",a=1,,b=2,"}, "a=1,b=2"},
		{"blank members and blanks", []string{" a=1 , \t , b=2\t"}, "a=1,b=2"},
		{"nothing but commas", []string{",,", " "}, ""},
		{"a key twice in a line", []string{"a=1,b=2,a=3"}, "a=1,b=2"},
		{"a key twice over lines", []string{"a=1", "a=1,b=2"}, "a=1,b=2"},
		{"a key that begins like another", []string{"ab=1,a=2,a@b=3"}, "ab=1,a=2,a@b=3"},
		{"a member that is none drops the whole", []string{"a=1,B=2"}, ""},
		{"32 members, empty and doubled ones not counted", []string{many(32), ",", many(32)}, many(32)},
		{"33 members", []string{many(33)}, ""},
	}
	b := newBench(t, nil)
	for _, tt := range tests {
		h := traceparent("01")
		h["Tracestate"] = tt.lines
		i := identify(t, b.Telemetry, h, nil)
		if got := i.Context.TraceState().String(); got != tt.want || i.Context.TraceID().String() != parentTrace {
			t.Errorf("%s: got %q in trace %v, want %q", tt.name, got, i.Context.TraceID(), tt.want)
		}
	}
}

func TestExtract_TraceparentStandsThereOnce(t *testing.T) {
	one := "00-" + parentTrace + "-" + parentSpan + "-01"
	tests := []struct {
		name  string
		lines []string
		want  bool // continued
	}{
		{"once", []string{one}, true},
		{"with blanks around it, as HTTP/2 hands on", []string{" " + one + "\t"}, true},
		{"twice", []string{one, "00-" + strings.Repeat("1", 32) + "-" + parentSpan + "-01"}, false},
		{"the same twice", []string{one, one}, false},
		{"twice, one of them empty", []string{"", one}, false},
		{"twice in one line", []string{one + "," + one}, false},
		{"of a later version", []string{"cc" + one[2:] + "-what"}, true},
		{"of a later version, twice in one line", []string{"cc" + one[2:] + "-what,cc" + one[2:]}, false},
	}
	b := newBench(t, nil)
	for _, tt := range tests {
		i := identify(t, b.Telemetry, http.Header{"Traceparent": tt.lines, "Tracestate": {"a=1"}}, nil)
		if got := i.Context.TraceID().String() == parentTrace; got != tt.want || !i.Context.IsValid() || (i.Context.TraceState().Len() > 0) != tt.want {
			t.Errorf("%s: continued %v, state %q; want %v", tt.name, got, i.Context.TraceState(), tt.want)
		}
	}
}

// Whatever encodings pace writes, no client's field of any encoding goes on beside them; baggage of any
// encoding does.
func TestPropagationFields_OfEachPropagator(t *testing.T) {
	for _, word := range []string{"tracecontext", "b3", "b3multi", "jaeger", "xray", "ottrace"} {
		p, err := autoprop.TextMapPropagator(word)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range p.Fields() {
			if !slices.ContainsFunc(encodings, func(e string) bool { return strings.EqualFold(e, field) }) {
				t.Errorf("encodings lacks %s, which %s writes", field, word)
			}
		}
	}
	for value, want := range map[string][]string{
		"": {parentField, stateField}, "none": nil, "baggage": nil, "b3,none": nil,
		"tracecontext,baggage": encodings, "b3": encodings, " jaeger,baggage ": encodings,
	} {
		t.Run(value, func(t *testing.T) {
			t.Setenv("OTEL_PROPAGATORS", value)
			if got := newBench(t, nil).PropagationFields(); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// FuzzJoinState holds the list to a dumb twin, and to the library, which has to take what it takes one by one.
func FuzzJoinState(f *testing.F) {
	f.Add("a=1,,b=2", " , a=1 ")
	f.Add("a", "=,=")
	f.Add("ab=1,a=2", "a@b=3\t")
	f.Fuzz(func(t *testing.T, one, two string) {
		var want []string
		seen, valid := map[string]bool{}, true
		for m := range strings.SplitSeq(one+","+two, ",") {
			m = strings.Trim(m, " \t")
			key := strings.SplitN(m, "=", 2)[0]
			if m == "" || seen[key] {
				continue
			}
			seen[key] = true
			want = append(want, m)
			_, err := trace.ParseTraceState(m)
			valid = valid && err == nil
		}
		got := joinState([]string{one, two})
		if len(want) > maxStateMembers {
			want = nil
		}
		if got != strings.Join(want, ",") {
			t.Fatalf("%q, %q: got %q, want %q", one, two, got, want)
		}
		if s, err := trace.ParseTraceState(got); valid && (err != nil || s.Len() != len(want)) {
			t.Fatalf("%q: %v, %d members, want %d", got, err, s.Len(), len(want))
		}
	})
}
