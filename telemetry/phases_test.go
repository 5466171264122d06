package telemetry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
	"pace/telemetry/metrics"
	"pace/telemetry/telemetrytest"
)

// The record's phases add up to its duration, in the histograms as in the line.
func TestPhases_AddUpToTheDuration(t *testing.T) {
	b := telemetrytest.New(t, nil)
	synctest.Test(t, func(t *testing.T) {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			for p := range telemetry.PhaseCount {
				time.Sleep(time.Duration(p+1) * time.Millisecond)
				r.Enter(p)
			}
			time.Sleep(time.Millisecond)
			r.Outcome, r.Status = telemetry.OK, 200
			b.End(r)
		})
	})
	scraped := b.Scrape(t)
	b.Close()
	line, sum := b.Logged(t, "request")[0], 0.0
	for p := range int(telemetry.PhaseCount) {
		word := telemetry.Phase(p).String()
		want := float64(p + 2)
		if p == int(telemetry.PhaseCount)-1 {
			want = 1
		}
		if p == int(telemetry.Own) { // also before the first phase
			want += 1
		}
		if got := line[word+"_ms"]; got != want {
			t.Errorf("%s: got %v ms, want %v", word, got, want)
		}
		sum += line[word+"_ms"].(float64)
		if telemetry.Phase(p) != telemetry.Own {
			if n, ok := telemetrytest.Value(scraped[metrics.PhaseDuration.Name], metrics.Phase.Name, word); n != 1 || !ok {
				t.Errorf("%s: %v in the histogram, %v", word, n, ok)
			}
		}
	}
	if line["duration_ms"] != sum {
		t.Errorf("the phases are %v ms, the request took %v", sum, line["duration_ms"])
	}
}

func TestServerTiming(t *testing.T) {
	b := telemetrytest.New(t, nil)
	synctest.Test(t, func(t *testing.T) {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			time.Sleep(time.Millisecond)
			r.Enter(telemetry.Connect)
			time.Sleep(1500 * time.Microsecond)
			r.Enter(telemetry.Send)
			time.Sleep(999 * time.Nanosecond) // less than is shown
			r.Enter(telemetry.Wait)
			time.Sleep(2 * time.Second)
			got := r.ServerTiming()
			if want := "own;dur=1, connect;dur=1.5, wait;dur=2000"; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			b.End(r)
		})
	})
}
