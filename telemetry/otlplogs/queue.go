package otlplogs

import (
	"cmp"
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"

	"pace/telemetry"
	"pace/telemetry/otlp"
)

// queue passes ended records to an exporter, in batches, on a goroutine of its own. It is bounded: a record that
// finds no room is dropped and counted, and no request waits for it. The SDK's batch processor would do the same,
// but it does not report what it drops, and its log records would have to be made on the goroutine of the request.
type queue struct {
	exporter   sdklog.Exporter
	delivery   *otlp.Delivery // only run uses it
	background *otlp.Background
	log        *slog.Logger
	logger     log.Logger // gives to gathered; only run uses it
	gathered   *gatherer
	records    chan *telemetry.Record // closed by shutdown
	bytes      atomic.Int64           // the memory that the records hold
	lost       telemetry.Losses
	batch      int           // how many log records are exported at once
	delay      time.Duration // how long a record waits at most for its batch to fill
	timeout    time.Duration // of the delivery of one batch
}

// The limits of the specification for OTEL_BLRP_*.
const (
	defaultQueueSize = 2048
	defaultBatchSize = 512
	defaultDelay     = time.Second
)

// maxBytes limits the memory of the records that wait: clients choose how long their texts are.
const maxBytes = 16 << 20

// newQueue starts a queue with the limits that the environment gives.
func newQueue(o Options) *queue {
	env := o.Environment.Lines
	q := &queue{
		exporter:   o.Exporter,
		delivery:   otlp.NewDelivery("log records", o.Log),
		background: otlp.NewBackground("log records", o.Log),
		log:        o.Log,
		gathered:   new(gatherer),
		records:    make(chan *telemetry.Record, cmp.Or(env.QueueSize, defaultQueueSize)),
		batch:      cmp.Or(env.Size, defaultBatchSize),
		delay:      cmp.Or(env.Delay, defaultDelay),
		timeout:    cmp.Or(env.Timeout, otlp.DefaultTimeout),
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithResource(o.Resource), sdklog.WithProcessor(q.gathered),
		sdklog.WithAllowKeyDuplication()) // the table of facts has no name twice
	q.logger = provider.Logger("pace", log.WithInstrumentationVersion(o.Version))
	q.background.Start(q.run)
	return q
}

// put retains the record until it is exported, or counts it as dropped. It never blocks, and is safe for
// concurrent use, also with shutdown.
func (q *queue) put(r *telemetry.Record) {
	if !q.background.Enter() {
		q.lost.Add(telemetry.ShutDown, 1)
		return
	}
	defer q.background.Leave()
	size := int64(r.Size())
	if q.bytes.Add(size) <= maxBytes {
		r.Retain() // before run may release it
		select {
		case q.records <- r:
			return
		default:
			r.Release()
		}
	}
	q.bytes.Add(-size)
	q.lost.Add(telemetry.QueueFull, 1)
}

// shutdown exports the queued records until ctx ends, and ends the exporter. When it returns, each record that
// was put is exported or counted, and so is each that is put later. Call it once.
func (q *queue) shutdown(ctx context.Context) {
	q.background.Shutdown(ctx, func() { close(q.records) }, q.exporter)
}

func (q *queue) run() {
	full := time.NewTimer(q.delay)
	for open := true; open; full.Reset(q.delay) {
		open = q.gather(full.C)
		q.export()
	}
}

// gather adds to the batch until it is full or overdue, or the queue is empty and closed.
func (q *queue) gather(overdue <-chan time.Time) (open bool) {
	for len(q.gathered.batch) < q.batch {
		select {
		case r, open := <-q.records:
			if !open {
				return false
			}
			q.take(r)
		case <-overdue:
			return true
		}
	}
	return true
}

// take adds the log record of r to the batch. A panic on this goroutine would end pace because of one line, so
// the line is dropped instead.
func (q *queue) take(r *telemetry.Record) {
	size := int64(r.Size())
	defer func() {
		q.bytes.Add(-size)
		if p := recover(); p != nil {
			q.lost.Add(telemetry.ExportFailed, 1)
			q.background.Panicked(p)
			return // r may be in any state: it is not used again
		}
		r.Release()
	}()
	ctx, line := logRecord(r)
	q.logger.Emit(ctx, line)
}

// export sends the batch and empties it.
func (q *queue) export() {
	batch := q.gathered.batch
	if len(batch) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(q.background.Context, q.timeout)
	defer cancel()
	err := q.delivery.Deliver(ctx, func(ctx context.Context) error { return q.exporter.Export(ctx, batch) })
	q.lost.Add(telemetry.ExportFailed, otlp.Lost(len(batch), err))
	clear(batch)
	q.gathered.batch = batch[:0]
}
