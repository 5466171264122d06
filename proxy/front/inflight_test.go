package front

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"pace/telemetry"
	"pace/telemetry/inflight"
	"pace/telemetry/telemetrytest"
)

// list begins an exchange with this record and shows it.
func list(f *InFlight, r *telemetry.Record) *Exchange {
	x := &Exchange{}
	f.Begin(x, &Conn{}, nil)
	x.Show(r, nil)
	return x
}

func TestInFlight_ListsAnExchangeUntilItIsHidden(t *testing.T) {
	f, b := new(InFlight), telemetrytest.New(t, nil)
	shown := func() int { return len(slices.Collect(f.Records())) }
	var living []*Exchange
	for range 20 { // in all parts
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { living = append(living, list(f, r)) })
	}
	if shown() != 20 || f.Count() != 20 {
		t.Fatalf("%d are shown and %d counted, want 20", shown(), f.Count())
	}
	for i, x := range living {
		r := x.record
		if x.Hide(); shown() != 19-i || f.Count() != int64(20-i) {
			t.Fatalf("after %d of 20 were hidden: %d are shown, %d counted", i+1, shown(), f.Count())
		}
		b.End(r)
		x.End()
	}
	if f.Count() != 0 {
		t.Errorf("%d are still counted", f.Count())
	}
}

// A visitor may stop before it has seen everything; it then holds no lock.
func TestInFlight_VisitorStops(t *testing.T) {
	f, b := new(InFlight), telemetrytest.New(t, nil)
	for range 20 {
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { list(f, r) })
	}
	for range f.Records() {
		break
	}
	if n := len(slices.Collect(f.Records())); n != 20 {
		t.Errorf("%d are shown after a visitor has stopped, want 20", n)
	}
}

// Whoever lists exchanges runs concurrently with their handlers, which go on writing the records.
func TestInFlight_ConcurrentSafe(t *testing.T) {
	f, b := new(InFlight), telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = 0 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			var x Exchange // as the handler's pool does, one value serves many requests
			for range 200 {
				b.Request(nil, func(_ context.Context, r *telemetry.Record) {
					r.Path = "/p"
					f.Begin(&x, &Conn{}, nil)
					x.Show(r, nil)
					r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
					r.Enter(telemetry.Wait)
					running := inflight.List(f.Records(), time.Now())
					if !slices.ContainsFunc(running, func(o inflight.Running) bool { return o.TraceID == r.Trace }) {
						t.Error("a running request is not listed")
					}
					r.EndAttempt()
					r.Status, r.Outcome = 200, telemetry.OK
					x.Hide()
					b.End(r)
					x.End()
				})
			}
		})
	}
	all.Wait()
	if got := slices.Collect(f.Records()); len(got) != 0 || f.Count() != 0 {
		t.Errorf("still there: %+v", got)
	}
}
