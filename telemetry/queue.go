package telemetry

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// Reasons for a dropped span.
const (
	queueFull    = "queue_full"    // the exporter is slower than the spans come
	exportFailed = "export_failed" // the collector did not take a batch
	shutDown     = "shutdown"      // pace was ending
)

// spanQueue hands ended records to an exporter, in batches, beside the requests. It is bounded:
// what finds no room is dropped and counted, and no request ever waits for it. The SDK's batch
// processor would do the same but keeps its losses to itself, and spans would have to be made on
// the request's time.
type spanQueue struct {
	exporter sdktrace.SpanExporter
	log      *slog.Logger
	records  chan *Record
	quit     chan context.Context
	done     chan struct{}
	closed   atomic.Bool
	dropped  map[string]*atomic.Int64 // by reason; the map is never written

	ctx     context.Context // of every export; it ends when shutdown may wait no longer
	giveUp  context.CancelFunc
	batch   int           // spans that are exported at once, about
	delay   time.Duration // longest wait of a record for its batch to fill
	timeout time.Duration // of one export
	failing bool          // the last export failed; run's own
}

// newSpanQueue starts a queue with the OTEL_BSP_* variables' bounds.
func newSpanQueue(e sdktrace.SpanExporter, log *slog.Logger) *spanQueue {
	q := &spanQueue{
		exporter: e,
		log:      log,
		records:  make(chan *Record, envInt("OTEL_BSP_MAX_QUEUE_SIZE", sdktrace.DefaultMaxQueueSize)),
		quit:     make(chan context.Context, 1),
		done:     make(chan struct{}),
		dropped:  map[string]*atomic.Int64{queueFull: {}, exportFailed: {}, shutDown: {}},
		batch:    envInt("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", sdktrace.DefaultMaxExportBatchSize),
		delay:    envMilliseconds("OTEL_BSP_SCHEDULE_DELAY", sdktrace.DefaultScheduleDelay),
		timeout:  envMilliseconds("OTEL_BSP_EXPORT_TIMEOUT", sdktrace.DefaultExportTimeout),
	}
	q.ctx, q.giveUp = context.WithCancel(context.Background())
	go q.run()
	return q
}

// put takes over the record, or counts its spans as dropped and leaves it to the caller.
func (q *spanQueue) put(r *Record) bool {
	if q.closed.Load() {
		q.drop(shutDown, r.spanCount())
		return false
	}
	select {
	case q.records <- r:
		return true
	default:
		q.drop(queueFull, r.spanCount())
		return false
	}
}

func (q *spanQueue) drop(reason string, spans int) { q.dropped[reason].Add(int64(spans)) }

// shutdown exports what is queued, as far as ctx allows, and ends the exporter.
func (q *spanQueue) shutdown(ctx context.Context) {
	q.closed.Store(true)
	defer context.AfterFunc(ctx, q.giveUp)() // an export may be hanging
	q.quit <- ctx
	<-q.done
}

func (q *spanQueue) run() {
	defer close(q.done)
	var batch []sdktrace.ReadOnlySpan
	full := time.NewTimer(q.delay)
	for {
		select {
		case r := <-q.records:
			if batch = take(batch, r); len(batch) < q.batch {
				continue
			}
		case <-full.C:
		case ctx := <-q.quit:
			q.drain(ctx, batch)
			return
		}
		batch = q.export(batch)
		full.Reset(q.delay)
	}
}

// take makes the record's spans; the record is at its end then.
func take(batch []sdktrace.ReadOnlySpan, r *Record) []sdktrace.ReadOnlySpan {
	batch = r.appendSpans(batch)
	r.recycle()
	return batch
}

func (q *spanQueue) drain(ctx context.Context, batch []sdktrace.ReadOnlySpan) {
	for {
		select {
		case r := <-q.records:
			if batch = take(batch, r); len(batch) >= q.batch {
				batch = q.export(batch)
			}
			continue
		default:
		}
		q.export(batch)
		if err := q.exporter.Shutdown(ctx); err != nil {
			q.log.LogAttrs(ctx, slog.LevelWarn, "span exporter did not end cleanly", slog.Any("error", err))
		}
		return
	}
}

// export sends the batch and returns it empty. A change between failing and not is logged once.
func (q *spanQueue) export(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	ctx, cancel := context.WithTimeout(q.ctx, q.timeout)
	defer cancel()
	err := q.exporter.ExportSpans(ctx, batch)
	if err != nil {
		q.drop(exportFailed, len(batch))
	}
	switch failing := err != nil; {
	case failing && !q.failing:
		q.log.LogAttrs(ctx, slog.LevelWarn, "spans are being lost: the collector does not take them", slog.Any("error", err))
		q.failing = true
	case !failing && q.failing:
		q.log.LogAttrs(ctx, slog.LevelInfo, "the collector takes spans again")
		q.failing = false
	}
	clear(batch)
	return batch[:0]
}

func envInt(name string, otherwise int) int {
	n, _ := strconv.Atoi(os.Getenv(name))
	return cmp.Or(max(n, 0), otherwise)
}

func envMilliseconds(name string, otherwise int) time.Duration {
	return time.Duration(envInt(name, otherwise)) * time.Millisecond
}
