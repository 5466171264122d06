package traces

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
	"pace/telemetry/environment"
	"pace/telemetry/otlp"
)

// collector is an exporter that calls itself.
type collector func(context.Context, []sdktrace.ReadOnlySpan) error

func (c collector) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	return c(ctx, spans)
}
func (c collector) Shutdown(context.Context) error { return nil }

// newQueue starts a queue with the bounds that the environment says.
func newQueue(e sdktrace.SpanExporter, log *slog.Logger) *spanQueue {
	return newSpanQueue(Options{Exporter: e, Environment: environment.Read(), Log: log})
}

// ended is a record at its end, with this many attempts.
func ended(attempts int) *telemetry.Record {
	t := telemetry.New(telemetry.Options{})
	r := t.Begin(trace.ContextWithSpan(context.Background(), &telemetry.Identity{}), "GET", "http")
	for range attempts {
		r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		r.EndAttempt()
	}
	return r
}

// wantDropped holds the queue's counters to what was lost.
func wantDropped(t *testing.T, q *spanQueue, full, failed, late int64) {
	t.Helper()
	if a, b, c := q.lost.Of(telemetry.QueueFull), q.lost.Of(telemetry.ExportFailed), q.lost.Of(telemetry.ShutDown); a != full || b != failed || c != late {
		t.Errorf("dropped %d for a full queue, %d in export, %d at the end; want %d, %d, %d", a, b, c, full, failed, late)
	}
}

func TestQueue_ExportsWhatWaitsAfterTheDelay(t *testing.T) {
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "700")
	synctest.Test(t, func(t *testing.T) {
		var exported []time.Duration
		begin := time.Now()
		q := newQueue(collector(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			exported = append(exported, time.Since(begin))
			if len(s) != 5 {
				t.Errorf("got %d spans, want those of two records", len(s))
			}
			return nil
		}), slog.New(slog.DiscardHandler))
		q.put(ended(1))
		q.put(ended(2))
		time.Sleep(5 * time.Second)
		q.shutdown(t.Context())
		if len(exported) != 1 || exported[0] != 700*time.Millisecond {
			t.Errorf("exported at %v, want once, after 700 ms", exported)
		}
		wantDropped(t, q, 0, 0, 0)
	})
}

func TestQueue_ExportsAFullBatchAtOnce(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		q := newQueue(collector(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			sizes = append(sizes, len(s))
			return nil
		}), slog.New(slog.DiscardHandler))
		for range 11 {
			q.put(ended(1))
		}
		synctest.Wait() // no time passes
		if len(sizes) != 2 || sizes[0] != 10 || sizes[1] != 10 {
			t.Errorf("got batches of %v, want two of 10", sizes)
		}
		q.shutdown(t.Context())
		if len(sizes) != 3 || sizes[2] != 2 {
			t.Errorf("got batches of %v, want the rest at the end", sizes)
		}
	})
}

// A collector that hangs costs spans, counted, and no request ever waits for it.
func TestQueue_SlowExporterBlocksNobody(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	t.Setenv("OTEL_BSP_EXPORT_TIMEOUT", "20000")
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(collector(func(ctx context.Context, s []sdktrace.ReadOnlySpan) error {
			<-ctx.Done()
			return ctx.Err()
		}), slog.New(slog.DiscardHandler))
		begin := time.Now()
		q.put(ended(0))
		synctest.Wait() // the exporter has it, and hangs
		for i := range 10 {
			if r := ended(2); q.put(r) != (i < 4) {
				t.Errorf("record %d: taken over although the queue is full, or the other way round", i)
			}
		}
		if d := time.Since(begin); d != 0 {
			t.Errorf("whoever put records waited %v", d)
		}
		wantDropped(t, q, 6*3, 0, 0)
		time.Sleep(20 * time.Second) // one export has timed out by now
		synctest.Wait()
		wantDropped(t, q, 6*3, 1, 0)
		time.Sleep(4 * 20 * time.Second)
		synctest.Wait()
		wantDropped(t, q, 6*3, 1+4*3, 0)
		q.shutdown(t.Context())
	})
}

// That the collector fails or warns is said once, and once that it takes spans again.
func TestQueue_LogsAChangeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		var reported error
		q := newQueue(collector(func(context.Context, []sdktrace.ReadOnlySpan) error { return reported }), slog.New(slog.NewTextHandler(&log, nil)))
		down := errors.New("connection refused")
		warns := &otlp.PartialSuccess{Err: errors.New("mind the size")}
		for _, reported = range []error{nil, down, down, down, nil, nil, down, nil, warns, warns, nil, warns, down, warns} {
			q.put(ended(1))
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		q.shutdown(t.Context())
		for words, want := range map[string]int{
			`WARN msg="spans are being lost: the collector does not take them" error="connection refused"`: 3,
			`WARN msg="the collector takes spans, but warns" error="mind the size"`:                        3,
			`INFO msg="the collector takes spans again"`:                                                   2,
		} {
			if n := strings.Count(log.String(), words); n != want {
				t.Errorf("said %d times, want %d: %s\n%s", n, want, words, log.String())
			}
		}
		wantDropped(t, q, 0, 5*2, 0)
	})
}

func TestQueue_ShutdownFlushes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exported := 0
		q := newQueue(collector(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			exported += len(s)
			return nil
		}), slog.New(slog.DiscardHandler))
		for range 700 { // more than a batch
			q.put(ended(1))
		}
		begin := time.Now()
		q.shutdown(t.Context())
		if d := time.Since(begin); exported != 1400 || d != 0 {
			t.Errorf("%d of 1400 spans were exported within %v", exported, d)
		}
		if q.put(ended(1)) {
			t.Error("a record was taken over after the end")
		}
		wantDropped(t, q, 0, 0, 2)
	})
}

// Shutdown ends with its context, also if an export that began before hangs; what is lost is counted.
func TestQueue_ShutdownEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(collector(func(ctx context.Context, _ []sdktrace.ReadOnlySpan) error {
			<-ctx.Done()
			return ctx.Err()
		}), slog.New(slog.DiscardHandler))
		q.put(ended(1))
		time.Sleep(10 * time.Second) // it is being exported
		q.put(ended(2))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		q.shutdown(ctx)
		if d := time.Since(begin); d != time.Second {
			t.Errorf("it took %v, want 1 s", d)
		}
		wantDropped(t, q, 0, 2+3, 0)
	})
}

// Records that come in the moment of the end are exported or counted, each of them: none is taken
// over by a queue that nobody reads any more. The moment is nanoseconds long, so many try at once,
// on more threads than there are cores, which the kernel stops wherever they are.
func TestQueue_ShutdownLosesNothing_ConcurrentSafe(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(32))
	for round := range 1000 {
		const puts = 64
		var exported, begun atomic.Int64
		q := newQueue(collector(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			exported.Add(int64(len(s)))
			return nil
		}), slog.New(slog.DiscardHandler))
		var group sync.WaitGroup
		for range puts {
			r := ended(0)
			group.Go(func() {
				begun.Add(1)
				q.put(r)
			})
		}
		for begun.Load() < puts/4 {
			runtime.Gosched()
		}
		q.shutdown(t.Context())
		group.Wait()
		if out, late := exported.Load(), q.lost.Of(telemetry.ShutDown); out+late != puts {
			t.Fatalf("round %d: of %d spans, %d were exported and %d are counted as late", round, puts, out, late)
		}
	}
}

func TestQueue_OutlivesPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exported := 0
		q := newQueue(collector(func(_ context.Context, s []sdktrace.ReadOnlySpan) error {
			if exported++; exported == 1 {
				panic("a bug of the exporter")
			}
			if len(s) != 2 {
				t.Errorf("got %d spans, want those of the record that is whole", len(s))
			}
			return nil
		}), slog.New(slog.DiscardHandler))
		q.put(ended(1))
		time.Sleep(time.Minute)
		wantDropped(t, q, 0, 2, 0)
		broken := ended(2)
		broken.Outcome = telemetry.OutcomeCount // its spans cannot be made
		q.put(broken)
		q.put(ended(1))
		time.Sleep(time.Minute)
		wantDropped(t, q, 0, 5, 0)
		q.shutdown(t.Context())
		if exported != 2 {
			t.Errorf("%d batches were exported, want 2", exported)
		}
	})
}

// interesting is a record that is to be kept.
func interesting(attempts int) *telemetry.Record {
	r := ended(attempts)
	r.Outcome, r.Export, r.Reason = telemetry.OK, telemetry.Kept, telemetry.KeepFailover
	return r
}

// wantKeeping holds the counters of kept traces.
func wantKeeping(t *testing.T, q *spanQueue, kept, failed int64) {
	t.Helper()
	if k, f := q.keeping.Kept(telemetry.KeepFailover), q.keeping.Dropped().Of(telemetry.ExportFailed); k != kept || f != failed {
		t.Errorf("%d kept, %d that the collector did not take; want %d, %d", k, f, kept, failed)
	}
}

// Traffic that is sampled fills its own queue, and never takes the place of a trace that is kept.
func TestQueue_SampledTrafficLeavesRoomForWhatIsKept(t *testing.T) {
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "4")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
	synctest.Test(t, func(t *testing.T) {
		blocked := make(chan struct{})
		q := newQueue(collector(func(context.Context, []sdktrace.ReadOnlySpan) error { <-blocked; return nil }), slog.New(slog.DiscardHandler))
		for range 100 {
			q.put(ended(0))
		}
		for i := range 6 {
			r := interesting(1)
			if got := q.reserve(r); got != (i < 4) {
				t.Errorf("place %d of 4: %v", i+1, got)
			} else if got {
				q.putKept(r)
			}
		}
		close(blocked)
		q.shutdown(t.Context())
		wantKeeping(t, q, 4, 0)
		if n := q.reserved.Load() + q.reservedBytes.Load(); n != 0 {
			t.Errorf("%d places and bytes are still taken", n)
		}
	})
}

// The text of clients cannot make the queue hold more memory than it may.
func TestQueue_BoundsTheMemoryOfWhatIsKept(t *testing.T) {
	q := newQueue(collector(func(context.Context, []sdktrace.ReadOnlySpan) error { return nil }), slog.New(slog.DiscardHandler))
	defer q.shutdown(t.Context())
	n := 0
	for {
		r := interesting(0)
		r.Path = strings.Repeat("/", 60_000)
		if !q.reserve(r) {
			break
		}
		n++
	}
	if n < 200 || n*60_000 > maxReservedBytes {
		t.Errorf("%d records of 60 kB found room in %d bytes", n, maxReservedBytes)
	}
}

// A trace counts as kept once the collector has taken all of its batch, and as dropped if not: never as both.
func TestQueue_CountsWhatTheCollectorTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var result error
		var accepted []*telemetry.Record
		q := newQueue(collector(func(context.Context, []sdktrace.ReadOnlySpan) error { return result }), slog.New(slog.DiscardHandler))
		q.onAccepted = func(r *telemetry.Record) { accepted = append(accepted, r) }
		send := func(err error) {
			result = err
			for _, r := range []*telemetry.Record{interesting(1), interesting(2)} {
				if !q.reserve(r) {
					t.Fatal("no place")
				}
				q.putKept(r)
			}
			q.put(ended(1))
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		send(nil)
		wantKeeping(t, q, 2, 0)
		send(errors.New("connection refused"))
		wantKeeping(t, q, 2, 2)
		send(&otlp.PartialSuccess{Err: errors.New("too old"), Rejected: 1})
		wantKeeping(t, q, 2, 4)
		send(&otlp.PartialSuccess{Err: errors.New("mind the size")})
		wantKeeping(t, q, 4, 4)
		broken := interesting(1)
		q.reserve(broken)
		broken.Outcome = telemetry.OutcomeCount // its spans cannot be made
		q.putKept(broken)
		time.Sleep(time.Minute)
		wantKeeping(t, q, 4, 5)
		q.shutdown(t.Context())
		late := interesting(1)
		q.reserve(late)
		q.putKept(late)
		wantKeeping(t, q, 4, 6)
		if len(accepted) != 6 {
			t.Errorf("%d records were accepted, want those of the two batches that were taken", len(accepted))
		}
		if n := q.reserved.Load(); n != 0 {
			t.Errorf("%d places are still taken", n)
		}
	})
}
