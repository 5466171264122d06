package telemetry_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
	"pace/telemetry/telemetrytest"
)

func TestInFlight_OldestFirst(t *testing.T) {
	b := telemetrytest.New(t, nil)
	synctest.Test(t, func(t *testing.T) {
		var running []*telemetry.Record
		for i := range 20 { // in all parts of the flight
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				r.Path, r.Client, r.Route, r.RequestID = "/"+string(rune('a'+i)), "192.0.2.1", "/", "id"
				b.TakeOff(r)
				running = append(running, r)
			})
			time.Sleep(time.Second)
		}
		running[3].BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		running[3].Enter(telemetry.Wait)
		running[7].BeginAttempt("10.0.0.2:80", "10.0.0.2", 80)
		b.BecomeStream(running[7], telemetry.EventStream)
		time.Sleep(time.Second)
		got := b.InFlight()
		if len(got) != 20 || !slices.IsSortedFunc(got, func(a, b telemetry.Running) int { return int(b.AgeMS - a.AgeMS) }) {
			t.Fatalf("got %d, oldest first: %+v", len(got), got)
		}
		for i, r := range got {
			if want := "/" + string(rune('a'+i)); r.Path != want || r.AgeMS != float64(21-i)*1000 || r.Method != "GET" || r.TraceID != running[i].Trace {
				t.Errorf("place %d: got %+v, want %s", i, r, want)
			}
		}
		if r := got[3]; r.Phase != "wait" || r.PhaseMS != 1000 || r.Backend != "10.0.0.1:80" || r.Attempts != 1 {
			t.Errorf("one that waits for a backend: got %+v", r)
		}
		if r := got[7]; r.Stream != "sse" || r.Phase != "receive" {
			t.Errorf("a stream: got %+v", r)
		}
		for i, r := range running {
			b.End(r)
			if n := len(b.InFlight()); n != 19-i {
				t.Fatalf("%d in flight after %d of 20 have ended", n, i+1)
			}
		}
	})
	if raw, err := json.Marshal(b.InFlight()); string(raw) != "[]" || err != nil {
		t.Errorf("nothing in flight reads %s, %v", raw, err)
	}
}

// What the client did not say is empty, and what it said cannot harm a terminal.
func TestInFlight_OfHostileRequests(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.Path, r.RequestID = "", "\x1b[31m"
		b.TakeOff(r)
		if got := b.InFlight()[0]; got.Path != "" || got.RequestID != "\uFFFD[31m" {
			t.Errorf("got %+v", got)
		}
		b.End(r)
	})
}

func TestInFlight_ConcurrentSafe(t *testing.T) {
	b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SampleRatio = 0 })
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 200 {
				b.Request(nil, func(_ context.Context, r *telemetry.Record) {
					r.Path = "/p"
					b.TakeOff(r)
					r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
					r.Enter(telemetry.Wait)
					if !slices.ContainsFunc(b.InFlight(), func(o telemetry.Running) bool { return o.TraceID == r.Trace }) {
						t.Error("a running request is not listed")
					}
					r.EndAttempt()
					b.End(r)
				})
			}
		})
	}
	all.Wait()
	if got := b.InFlight(); len(got) != 0 {
		t.Errorf("still there: %+v", got)
	}
}

// A request that runs for long says so once, before it ends; a stream may live as long as it likes.
func TestWatchSlow(t *testing.T) {
	var l []map[string]any
	synctest.Test(t, func(t *testing.T) {
		b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SlowAfter = 10 * time.Second })
		var slow, stream *telemetry.Record
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { r.Path, slow = "/slow", r; b.TakeOff(r) })
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { r.Path, stream = "/stream", r; b.TakeOff(r) })
		b.Request(nil, func(_ context.Context, r *telemetry.Record) {
			r.Path = "/quick"
			b.TakeOff(r)
			time.Sleep(9 * time.Second)
			b.End(r)
		})
		stream.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		b.BecomeStream(stream, telemetry.EventStream)
		slow.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		slow.Enter(telemetry.Wait)
		time.Sleep(time.Minute)
		b.End(stream)
		b.End(slow)
		b.Close()
		l = b.Logged(t, "still running")
	})
	if len(l) != 1 || l[0]["path"] != "/slow" || l[0]["phase"] != "wait" || l[0]["backend"] != "10.0.0.1:80" || l[0]["level"] != "WARN" {
		t.Fatalf("got %v", l)
	}
	if age := l[0]["age_ms"].(float64); age < 10_000 || age > 11_000 {
		t.Errorf("it was said at the age of %v ms, want 10 s and at most a tick more", age)
	}
}

// New's own watcher ends with Shutdown: synctest would complain of one that does not.
func TestWatchSlow_EndsWithShutdown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := telemetrytest.New(t, func(o *telemetrytest.Options) { o.SlowAfter = time.Second })
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { b.TakeOff(r); time.Sleep(3 * time.Second); b.End(r) })
		b.Close()
		if l := b.Logged(t, "still running"); len(l) != 1 {
			t.Errorf("got %v", l)
		}
	})
}
