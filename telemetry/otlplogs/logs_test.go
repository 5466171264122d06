package otlplogs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
	"pace/telemetry/environment"
)

// collector is an exporter that calls itself.
type collector func(context.Context, []sdklog.Record) error

func (c collector) Export(ctx context.Context, l []sdklog.Record) error { return c(ctx, l) }
func (c collector) Shutdown(context.Context) error                      { return nil }
func (c collector) ForceFlush(context.Context) error                    { return nil }

// newLogs returns logs whose limits the environment says.
func newLogs(e sdklog.Exporter, log *slog.Logger) *Logs {
	return New(Options{Environment: environment.Read(), Version: "1", Resource: resource.Empty(), Exporter: e, Log: log})
}

// discard writes all levels of access lines to nowhere: slog.DiscardHandler would say that none is written.
var discard = slog.New(slog.NewTextHandler(io.Discard, nil))

// ended is a record at its end.
func ended(change func(*telemetry.Record)) *telemetry.Record {
	t := telemetry.New(telemetry.Options{})
	r := t.Begin(trace.ContextWithSpan(context.Background(), &telemetry.Identity{}), "GET", "http")
	r.Status, r.Outcome, r.End = 200, telemetry.OK, time.Now()
	if change != nil {
		change(r)
	}
	return r
}

func wantLost(t *testing.T, l *Logs, full, failed, late int64) {
	t.Helper()
	if a, b, c := l.Lost().Of(telemetry.QueueFull), l.Lost().Of(telemetry.ExportFailed), l.Lost().Of(telemetry.ShutDown); a != full || b != failed || c != late {
		t.Errorf("lost %d for a full queue, %d in export, %d at the end; want %d, %d, %d", a, b, c, full, failed, late)
	}
}

func TestPublish_OnlyWhatHasALine(t *testing.T) {
	var paths []string
	l := newLogs(collector(func(_ context.Context, batch []sdklog.Record) error {
		for i := range batch {
			paths = append(paths, batch[i].SeverityText())
		}
		return nil
	}), slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})))
	quiet := &telemetry.Route{Lines: telemetry.NoLines}
	for _, p := range []struct {
		at telemetry.Moment
		r  *telemetry.Record
	}{
		{telemetry.Ended, ended(func(r *telemetry.Record) { r.Outcome = telemetry.UpstreamError })},
		{telemetry.Ended, ended(nil)}, // of level info
		{telemetry.Ended, ended(func(r *telemetry.Record) { r.Outcome, r.Route = telemetry.UpstreamError, quiet })},
		{telemetry.Begun, ended(func(r *telemetry.Record) { r.Outcome = telemetry.UpstreamError })},
		{telemetry.BecameStream, ended(func(r *telemetry.Record) { r.Outcome = telemetry.UpstreamError })},
		{telemetry.MirrorEnded, ended(func(r *telemetry.Record) { r.Outcome = telemetry.UpstreamError })},
		{telemetry.Ended, ended(func(r *telemetry.Record) { r.Outcome = telemetry.RateLimited })},
	} {
		l.Publish(p.at, p.r)
	}
	l.Shutdown(t.Context())
	if got := strings.Join(paths, " "); got != "ERROR WARN" {
		t.Errorf("exported %s, want ERROR WARN", got)
	}
}

func TestLogs_WithoutAnExporter(t *testing.T) {
	l := New(Options{})
	l.Publish(telemetry.Ended, ended(nil))
	l.Shutdown(t.Context())
	if l.Lost() != nil {
		t.Error("it counts")
	}
}

// A collector that hangs costs log records, counted, and no request ever waits for it.
func TestQueue_SlowExporterBlocksNobody(t *testing.T) {
	t.Setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1")
	t.Setenv("OTEL_BLRP_EXPORT_TIMEOUT", "20000")
	synctest.Test(t, func(t *testing.T) {
		l := newLogs(collector(func(ctx context.Context, _ []sdklog.Record) error {
			<-ctx.Done()
			return ctx.Err()
		}), discard)
		begin := time.Now()
		l.Publish(telemetry.Ended, ended(nil))
		synctest.Wait() // the exporter has it, and hangs
		for range 10 {
			l.Publish(telemetry.Ended, ended(nil))
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("whoever published waited %v", d)
		}
		wantLost(t, l, 6, 0, 0)
		time.Sleep(5*20*time.Second + time.Second)
		synctest.Wait()
		wantLost(t, l, 6, 5, 0)
		l.Shutdown(t.Context())
		l.Publish(telemetry.Ended, ended(nil))
		wantLost(t, l, 6, 5, 1)
	})
}

func TestQueue_BoundsItsMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogs(collector(func(ctx context.Context, _ []sdklog.Record) error {
			<-ctx.Done()
			return ctx.Err()
		}), discard)
		large := func(r *telemetry.Record) { r.Path = strings.Repeat("x", 1<<20) }
		l.Publish(telemetry.Ended, ended(large))
		time.Sleep(2 * defaultDelay) // it is being exported
		synctest.Wait()
		for range 20 {
			l.Publish(telemetry.Ended, ended(large))
		}
		if full := l.Lost().Of(telemetry.QueueFull); full != 5 {
			t.Errorf("%d of 20 MiB did not fit, want 5", full)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		l.Shutdown(ctx)
		if held := l.queue.bytes.Load(); held != 0 {
			t.Errorf("%d bytes are still held at the end", held)
		}
	})
}

func TestQueue_ShutdownLosesNothing_ConcurrentSafe(t *testing.T) {
	for range 50 {
		exported := 0
		l := newLogs(collector(func(_ context.Context, batch []sdklog.Record) error {
			exported += len(batch)
			return nil
		}), discard)
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for range 50 {
					l.Publish(telemetry.Ended, ended(nil))
				}
			})
		}
		l.Shutdown(t.Context())
		group.Wait()
		if late := int(l.Lost().Of(telemetry.ShutDown)); exported+late != 200 {
			t.Fatalf("%d exported and %d counted, want 200", exported, late)
		}
	}
}

func TestQueue_OutlivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		calls := 0
		l := newLogs(collector(func(context.Context, []sdklog.Record) error {
			if calls++; calls == 1 {
				panic("a bug of the exporter's")
			}
			return nil
		}), slog.New(slog.NewTextHandler(&log, nil)))
		l.Publish(telemetry.Ended, ended(nil))
		time.Sleep(2 * defaultDelay)
		l.Publish(telemetry.Ended, ended(func(r *telemetry.Record) {
			r.Attempts = make([]telemetry.Attempt, 1)
			r.LeftIn = 200
			r.Outcome = telemetry.ClientGone
		}))
		l.Publish(telemetry.Ended, ended(nil))
		time.Sleep(2 * defaultDelay)
		l.Shutdown(t.Context())
		wantLost(t, l, 0, 2, 0)
		for _, words := range []string{"bug of pace: it panicked while it made log records", "the exporter panicked", "the collector takes log records again"} {
			if strings.Count(log.String(), words) != 1 {
				t.Errorf("the log does not say once %q: %s", words, log.String())
			}
		}
	})
}

// The collector's partial success counts what it rejects, and nothing is sent again.
func TestQueue_CountsWhatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLogs(collector(func(context.Context, []sdklog.Record) error { return errors.New("never") }), discard)
		for range 3 {
			l.Publish(telemetry.Ended, ended(nil))
		}
		l.Shutdown(t.Context())
		wantLost(t, l, 0, 3, 0)
	})
}

// A request costs nothing that it would not cost without log records, but for a place in the queue.
func TestPublish_Allocations(t *testing.T) {
	t.Setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "100000")
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "600000")
	t.Setenv("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "1")
	hangs := make(chan struct{})
	l := newLogs(collector(func(context.Context, []sdklog.Record) error { <-hangs; return nil }), discard)
	r := ended(nil)
	l.Publish(telemetry.Ended, r)
	l.Publish(telemetry.Ended, r)
	for len(l.queue.records) > 1 { // one is with the exporter
		time.Sleep(time.Millisecond)
	}
	if n := testing.AllocsPerRun(1000, func() { l.Publish(telemetry.Ended, r) }); n != 0 {
		t.Errorf("got %v allocations, want 0", n)
	}
	close(hangs)
	l.Shutdown(t.Context())
}
