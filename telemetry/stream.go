package telemetry

import (
	"sync/atomic"
)

// StreamKind is the kind of a stream: an exchange that goes on after its header.
type StreamKind uint8

// The kinds of streams. NoStream is an ordinary request.
const (
	NoStream StreamKind = iota
	WebSocket
	EventStream // server-sent events
	OtherUpgrade
	StreamKinds
)

var streamWords = [StreamKinds]string{"", "websocket", "sse", "other"}

// String returns the word of the kind, "" for NoStream.
func (k StreamKind) String() string { return streamWords[k] }

// CloseReason says who ended a stream, and how.
type CloseReason uint8

// The reasons, in the words of pace_close_reason.
const (
	NotClosed CloseReason = iota
	ClosedByClient
	ClosedByBackend
	LostClient
	LostBackend
	ClosedByDrain
	CloseReasons
)

var closeWords = [CloseReasons]string{"", "client_closed", "backend_closed", "client_lost", "backend_lost", "drained"}

// String returns the word of the reason.
func (c CloseReason) String() string { return closeWords[c] }

// Traffic counts the bytes of streams: received from clients, and sent to them. Safe for concurrent use.
type Traffic struct{ Received, Sent atomic.Int64 }

// Moved counts bytes of a stream that were received and sent. Safe for concurrent use.
func (r *Record) Moved(received, sent int64) {
	if m := r.Moving; m != nil {
		m.Received.Add(received)
		m.Sent.Add(sent)
	}
}
