package telemetry

import "sync/atomic"

// Loss is why something of a signal, or a copy for a mirror, was lost.
type Loss uint8

// The reasons of pace_spans_dropped_total, pace_log_records_dropped_total, pace_log_dropped_total,
// pace_traces_dropped_total and pace_mirror_dropped_total.
const (
	QueueFull    Loss = iota // spans or log records come faster than the exporter sends them
	ExportFailed             // the collector did not accept it
	ShutDown                 // pace was ending
	BufferFull               // lines come faster than they can be written
	WriteFailed              // a full disk, a closed pipe
	OverRate                 // more traces are interesting than may be kept
	Busy                     // as many copies are on their way as may be
	BodyTooLarge             // the request's body is larger than what is kept for a copy
	lossCount
)

var lossWords = [lossCount]string{"queue_full", "export_failed", "shutdown", "buffer_full", "write_failed", "rate", "busy", "body_too_large"}

// The reasons for which each signal, or a mirror, loses something.
var (
	SpanLosses      = []Loss{QueueFull, ExportFailed, ShutDown}
	LogRecordLosses = []Loss{QueueFull, ExportFailed, ShutDown}
	LineLosses      = []Loss{BufferFull, WriteFailed}
	KeepLosses      = []Loss{OverRate, QueueFull, ExportFailed}
	CopyLosses      = []Loss{Busy, BodyTooLarge}
)

// String returns the word of the reason.
func (l Loss) String() string { return lossWords[l] }

// Losses counts what was lost, by reason. Safe for concurrent use.
type Losses [lossCount]atomic.Int64

// Add counts n that were lost.
func (l *Losses) Add(why Loss, n int) { l[why].Add(int64(n)) }

// Of returns how many were lost for this reason.
func (l *Losses) Of(why Loss) int64 { return l[why].Load() }
