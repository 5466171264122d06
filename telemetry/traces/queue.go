package traces

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/sdk/instrumentation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"pace/telemetry"
	"pace/telemetry/otlp"
)

// spanQueue passes ended records to an exporter, in batches, on a goroutine of its own. It is bounded: a record
// that finds no room is dropped and counted, and no request waits for it. The SDK's batch processor would do the
// same, but it does not report what it drops, and its spans would have to be made on the goroutine of the
// request.
//
// Traces that are kept because they are interesting have a queue of their own, which sampled traces cannot fill.
// They have a place in it from the decision on.
type spanQueue struct {
	exporter   sdktrace.SpanExporter
	delivery   *otlp.Delivery // only run uses it
	background *otlp.Background
	onAccepted func(*telemetry.Record) // nil: nobody asks
	records    chan *telemetry.Record  // that are sampled; closed by shutdown
	kept       chan *telemetry.Record  // has room for each that is reserved; closed by shutdown
	lost       telemetry.Losses
	keeping    telemetry.Keeping
	resource   *resource.Resource
	scope      instrumentation.Scope

	reserved      atomic.Int64 // records that are kept, from the decision until they are exported
	reservedBytes atomic.Int64 // the memory that they hold

	batch   int           // about how many spans are exported at once
	delay   time.Duration // how long a record waits at most for its batch to fill
	timeout time.Duration // of the delivery of one batch

	taken []*telemetry.Record // whose spans are in the batch; only run uses it
}

// maxReservedBytes limits the memory of the records that are kept: clients choose how long their texts are.
const maxReservedBytes = 16 << 20

// newSpanQueue starts a queue with the limits that the environment gives.
func newSpanQueue(o Options) *spanQueue {
	env := o.Environment
	q := &spanQueue{
		exporter:   o.Exporter,
		delivery:   otlp.NewDelivery("spans", o.Log),
		background: otlp.NewBackground("spans", o.Log),
		resource:   o.Resource,
		scope:      instrumentation.Scope{Name: "pace", Version: o.Version},
		records:    make(chan *telemetry.Record, cmp.Or(env.Spans.QueueSize, sdktrace.DefaultMaxQueueSize)),
		kept:       make(chan *telemetry.Record, cmp.Or(env.Spans.QueueSize, sdktrace.DefaultMaxQueueSize)),
		batch:      cmp.Or(env.Spans.Size, sdktrace.DefaultMaxExportBatchSize),
		delay:      cmp.Or(env.Spans.Delay, sdktrace.DefaultScheduleDelay*time.Millisecond),
		timeout:    cmp.Or(env.Spans.Timeout, otlp.DefaultTimeout),
	}
	q.background.Start(q.run)
	return q
}

// put retains the record until its spans are exported, or counts them as dropped. It reports whether it took the
// record. It never blocks, and is safe for concurrent use, also with shutdown.
func (q *spanQueue) put(r *telemetry.Record) bool {
	if !q.background.Enter() {
		q.drop(telemetry.ShutDown, spanCount(r))
		return false
	}
	defer q.background.Leave()
	r.Retain() // before run may release it
	select {
	case q.records <- r:
		return true
	default:
		r.Release()
		q.drop(telemetry.QueueFull, spanCount(r))
		return false
	}
}

// reserve reserves room in the queue for a record that is kept, until the record has been put and exported. It
// reports whether there was room.
func (q *spanQueue) reserve(r *telemetry.Record) bool {
	records, bytes := q.reserved.Add(1), q.reservedBytes.Add(int64(r.Size()))
	if records <= int64(cap(q.kept)) && bytes <= maxReservedBytes {
		return true
	}
	q.giveBack(r)
	return false
}

func (q *spanQueue) giveBack(r *telemetry.Record) {
	q.reserved.Add(-1)
	q.reservedBytes.Add(-int64(r.Size()))
}

// putKept is put for a record that has its place.
func (q *spanQueue) putKept(r *telemetry.Record) {
	if !q.background.Enter() {
		q.drop(telemetry.ShutDown, spanCount(r))
		q.settle(r, false)
		return
	}
	defer q.background.Leave()
	r.Retain()
	q.kept <- r
}

// settle counts what became of a record, and gives back the place of one that is kept.
func (q *spanQueue) settle(r *telemetry.Record, accepted bool) {
	if r.Export == telemetry.Kept {
		if accepted {
			q.keeping.AddKept(r.Reason)
		} else {
			q.keeping.AddDropped(telemetry.ExportFailed)
		}
		q.giveBack(r)
	}
	if accepted && q.onAccepted != nil {
		q.onAccepted(r)
	}
}

func (q *spanQueue) drop(why telemetry.Loss, spans int) { q.lost.Add(why, spans) }

// shutdown exports the queued records until ctx ends, and ends the exporter. When it returns, each record that
// was put is exported or counted, and so is each that is put later. Call it once.
func (q *spanQueue) shutdown(ctx context.Context) {
	q.background.Shutdown(ctx, func() {
		close(q.records)
		close(q.kept)
	}, q.exporter)
}

func (q *spanQueue) run() {
	var batch []sdktrace.ReadOnlySpan
	full := time.NewTimer(q.delay)
	for open := true; open; full.Reset(q.delay) {
		batch, open = q.gather(batch, full.C)
		batch = q.export(batch)
	}
}

// gather adds to the batch until it is full or overdue, or both queues are empty and closed.
func (q *spanQueue) gather(batch []sdktrace.ReadOnlySpan, overdue <-chan time.Time) (_ []sdktrace.ReadOnlySpan, open bool) {
	records, kept := q.records, q.kept
	for len(batch) < q.batch {
		if records == nil && kept == nil {
			return batch, false
		}
		select {
		case r, open := <-records:
			if !open {
				records = nil
				continue
			}
			batch = q.take(batch, r)
		case r, open := <-kept:
			if !open {
				kept = nil
				continue
			}
			batch = q.take(batch, r)
		case <-overdue:
			return batch, true
		}
	}
	return batch, true
}

// take adds the record's spans to the batch, and retains it until they are exported.
func (q *spanQueue) take(batch []sdktrace.ReadOnlySpan, r *telemetry.Record) []sdktrace.ReadOnlySpan {
	more, ok := q.appendSpans(batch, r)
	if !ok {
		q.settle(r, false)
		return batch // r may be in any state: it is not used again
	}
	q.taken = append(q.taken, r)
	return more
}

// appendSpans adds the record's spans to the batch. A panic on this goroutine would end pace because of one trace,
// so the spans are dropped instead.
func (q *spanQueue) appendSpans(batch []sdktrace.ReadOnlySpan, r *telemetry.Record) (_ []sdktrace.ReadOnlySpan, ok bool) {
	defer func() {
		if p := recover(); p != nil {
			q.drop(telemetry.ExportFailed, spanCount(r))
			q.background.Panicked(p)
		}
	}()
	return q.appendSpansOf(r, batch), true
}

// export sends the batch and returns it empty.
func (q *spanQueue) export(batch []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if len(batch) == 0 {
		return batch
	}
	ctx, cancel := context.WithTimeout(q.background.Context, q.timeout)
	defer cancel()
	err := q.delivery.Deliver(ctx, func(ctx context.Context) error { return q.exporter.ExportSpans(ctx, batch) })
	lost := otlp.Lost(len(batch), err)
	q.drop(telemetry.ExportFailed, lost)
	for _, r := range q.taken {
		q.settle(r, lost == 0) // of a part that was rejected nobody says whose spans it was
		r.Release()
	}
	clear(q.taken)
	q.taken = q.taken[:0]
	clear(batch)
	return batch[:0]
}
