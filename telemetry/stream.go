package telemetry

import (
	"context"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// StreamKind is what an exchange became whose header was only its beginning.
type StreamKind uint8

// The kinds of streams. NoStream is a request like any other.
const (
	NoStream StreamKind = iota
	WebSocket
	EventStream // server-sent events
	OtherUpgrade
	streamKinds
)

var streamWords = [streamKinds]string{"", "websocket", "sse", "other"}

// String returns the word of the kind, "" for NoStream.
func (k StreamKind) String() string { return streamWords[k] }

// CloseReason is who ended a stream, and how.
type CloseReason uint8

// The reasons, in the words of pace_close_reason.
const (
	NotClosed CloseReason = iota
	ClosedByClient
	ClosedByBackend
	LostClient
	LostBackend
	ClosedByDrain
	closeReasons
)

var closeWords = [closeReasons]string{"", "client_closed", "backend_closed", "client_lost", "backend_lost", "drained"}

// String returns the word of the reason.
func (c CloseReason) String() string { return closeWords[c] }

// The instruments of streams.
var (
	streamDuration = Instrument{
		Name: MetricStreamDuration, otel: "pace.stream.duration", Type: "histogram", Unit: "s",
		Labels: []string{LabelKind, LabelCloseReason}, Doc: "How long streams lived, from their header to their end.",
		Bounds: []float64{0.1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400},
	}
	streamBytes = Instrument{
		Name: MetricStreamBytes, otel: "pace.stream.io", Type: "counter", Unit: "By",
		Labels: []string{LabelKind, LabelDirection}, Doc: "Bytes that streams moved: received from clients, sent to them.",
	}
)

// streams counts what lives on after its request was measured.
type streams struct {
	open     [streamKinds]atomic.Int64
	bytes    [streamKinds][2]atomic.Int64 // received, sent
	duration metric.Float64Histogram      // nil: no metrics
}

var directions = [2]string{"received", "sent"}

// BecomeStream writes the request's metrics now, as its header is answered; what follows is a
// stream, measured apart. Span and access line are written at the End.
func (r *Record) BecomeStream(kind StreamKind) {
	r.EndAttempt()
	r.end = r.clock.enter(Receive)
	r.Stream = kind
	r.clock.become(kind)
	r.t.observe(r)
	r.t.streams.open[kind].Add(1)
}

// Moved counts bytes of the stream as they move. Safe for concurrent use.
func (r *Record) Moved(received, sent int64) {
	b := &r.t.streams.bytes[r.Stream]
	b[0].Add(received)
	b[1].Add(sent)
}

// end writes the metrics of a stream at its end.
func (s *streams) end(r *Record, lived time.Duration) {
	s.open[r.Stream].Add(-1)
	if s.duration != nil {
		s.duration.Record(context.Background(), lived.Seconds(), metric.WithAttributes(
			attribute.String(LabelKind, r.Stream.String()),
			attribute.String("pace.close_reason", r.Closed.String())))
	}
}
