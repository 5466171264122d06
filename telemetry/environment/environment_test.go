package environment

import (
	"regexp"
	"testing"
	"time"
)

// Each process is told from all others, unless somebody named it.
func TestResource_NamesTheInstance(t *testing.T) {
	id := func() string {
		r, err := Resource(t.Context(), "1")
		if err != nil {
			t.Fatal(err)
		}
		v, _ := r.Set().Value("service.instance.id")
		return v.AsString()
	}
	one, another := id(), id()
	if uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`); !uuid.MatchString(one) || one == another {
		t.Errorf("got %q and %q, want two UUIDs", one, another)
	}
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=edge-7")
	if got := id(); got != "edge-7" {
		t.Errorf("got %q, want what the environment says", got)
	}
}

// A variable that is no positive number counts as not set.
func TestRead_NumbersArePositive(t *testing.T) {
	for word, want := range map[string]int{"": 0, "5": 5, "0": 0, "-1": 0, "many": 0} {
		t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", word)
		t.Setenv("OTEL_BSP_SCHEDULE_DELAY", word)
		if got := Read(); got.Spans.QueueSize != want || got.Spans.Delay != time.Duration(want)*time.Millisecond {
			t.Errorf("%q: got %d and %v, want %d", word, got.Spans.QueueSize, got.Spans.Delay, want)
		}
	}
}
