package front

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
	"pace/telemetry/inflight"
	"pace/telemetry/telemetrytest"
)

// slowServer returns a server that notes what it reports as slow.
func slowServer(after time.Duration, reported *[]inflight.Running) *Server {
	return NewServer(Options{
		InFlight: new(InFlight),
		Settings: Settings{SlowAfter: after},
		OnSlow:   func(r *telemetry.Record) { *reported = append(*reported, inflight.Of(r, time.Now())) },
		OnBug:    func(p any, stack string) {},
	})
}

// A request that runs for long is reported once, before it ends; a stream may live for as long as it likes.
func TestWatchSlow(t *testing.T) {
	b := telemetrytest.New(t, nil)
	var got []inflight.Running
	synctest.Test(t, func(t *testing.T) {
		s := slowServer(10*time.Second, &got)
		defer s.ended()
		begin := func(path string) (r *telemetry.Record, x *Exchange) {
			b.Request(nil, func(_ context.Context, of *telemetry.Record) {
				of.Path = path
				r, x = of, list(s.InFlight, of)
			})
			return r, x
		}
		end := func(r *telemetry.Record, x *Exchange) { x.Hide(); b.End(r); x.End() }

		slow, slowX := begin("/slow")
		stream, streamX := begin("/stream")
		quick, quickX := begin("/quick")
		stream.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		b.BecomeStream(stream, telemetry.EventStream)
		slow.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		slow.Enter(telemetry.Wait)
		time.Sleep(9 * time.Second)
		end(quick, quickX)
		time.Sleep(time.Minute)
		end(stream, streamX)
		end(slow, slowX)
	})
	if len(got) != 1 || got[0].Path != "/slow" || got[0].Phase != "wait" || got[0].Backend != "10.0.0.1:80" {
		t.Fatalf("got %+v", got)
	}
	if age := got[0].AgeMS; age < 10_000 || age > 11_000 {
		t.Errorf("it was reported at the age of %v ms, want 10 s and at most a tick more", age)
	}
}

// The next exchange of a handler's value is reported anew.
func TestWatchSlow_ReportsEachExchangeOnce(t *testing.T) {
	b := telemetrytest.New(t, nil)
	var got []inflight.Running
	synctest.Test(t, func(t *testing.T) {
		s := slowServer(time.Second, &got)
		defer s.ended()
		var x Exchange
		for range 3 {
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				s.InFlight.Begin(&x, &Conn{}, nil)
				x.Show(r, nil)
				time.Sleep(3 * time.Second)
				x.Hide()
				b.End(r)
				x.End()
			})
		}
	})
	if len(got) != 3 {
		t.Errorf("%d were reported, want 3: %+v", len(got), got)
	}
}

// A bug in what reports an exchange does not end pace, and the others are still reported.
func TestWatchSlow_SurvivesAPanic(t *testing.T) {
	b := telemetrytest.New(t, nil)
	synctest.Test(t, func(t *testing.T) {
		reported, bugs := 0, 0
		s := NewServer(Options{
			InFlight: new(InFlight),
			Settings: Settings{SlowAfter: time.Second},
			OnSlow:   func(*telemetry.Record) { reported++; panic("a bug") },
			OnBug:    func(any, string) { bugs++ },
		})
		defer s.ended()
		for range 2 {
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				x := &Exchange{}
				s.InFlight.Begin(x, &Conn{server: s}, nil)
				x.Show(r, nil)
			})
		}
		time.Sleep(3 * time.Second)
		synctest.Wait() // orders what follows after what the watcher did
		if reported != 2 || bugs != 2 {
			t.Errorf("%d were reported with %d bugs, want 2 and 2", reported, bugs)
		}
	})
}

// A reload may switch the reports on while an exchange runs.
func TestWatchSlow_FollowsTheSettings(t *testing.T) {
	b := telemetrytest.New(t, nil)
	var got []inflight.Running
	synctest.Test(t, func(t *testing.T) {
		s := slowServer(0, &got)
		defer s.ended()
		b.Request(nil, func(_ context.Context, r *telemetry.Record) { list(s.InFlight, r) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(got) != 0 {
			t.Errorf("reported although nothing is slow: %+v", got)
		}
		s.Change(Settings{SlowAfter: time.Second})
		time.Sleep(time.Second)
		synctest.Wait()
		if len(got) != 1 {
			t.Errorf("%d were reported after the change, want 1", len(got))
		}
	})
}
