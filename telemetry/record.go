package telemetry

import (
	"context"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// Record is what is known of one exchange. The goroutine of the handler owns it from
// [Telemetry.Begin] to [Record.End]; what runs beside it hands over values. Its end, and
// nothing else, writes the request's metrics, spans and access line. Records are pooled:
// none may be touched after its End.
type Record struct {
	// The request. Strings from the wire may be hostile; they are cleaned where they are published.
	Start     time.Time
	Method    string // as the client wrote it
	Scheme    string // "http", "https"
	Host      string // the Host field or :authority
	Path      string // escaped, as it goes upstream
	Query     string // raw; redacted where it is published
	Protocol  string // "1.0", "1.1", "2"
	UserAgent string
	RequestID string
	Peer      string // address of the connected peer, and
	PeerPort  int    // its port
	Client    string // address of who asked, according to the proxies we trust

	// What became of it.
	Route     string // bounded by the config
	Upstream  string // the pool's name, "" if none was asked
	Attempts  []Attempt
	Limited   []Limited
	Failovers []Failover
	Retries   []Retry
	Status    int   // what the client got; 499 if it left before
	BytesIn   int64 // of the request's body
	BytesOut  int64 // of the response's body
	Outcome   Outcome
	Stream    StreamKind  // set by BecomeStream; the outcome is then that of the header
	Closed    CloseReason // how a stream ended
	LeftIn    Phase       // the phase in which the client left, if the outcome says that it did

	OnOverdue func(since time.Time) // called beside the handler, while the request is in flight; nil: [Telemetry.Overdue] leaves it

	end      time.Time
	clock    clock
	identity identity
	traceID  string // identity's, in text
	t        *Telemetry

	// These belong to the lock of the record's part of the flight.
	next, prev   *Record
	listed, slow bool
}

// Attempt is one try at one backend, beginning with its pick.
type Attempt struct {
	Backend    string // host:port
	Host       string
	Port       int
	Start, End time.Time
	Status     int     // of the backend's answer, 0 if none came
	Failure    Outcome // why it failed or was cut short, Unset if it did not
	Error      string  // the system's words for that; "" if it has none
	Reused     bool    // the connection came from the pool
	Remote     netip.AddrPort
	Protocol   string // HTTP version of the backend's answer, "1.0" or "1.1"; "" if none came
	BytesSent  int64  // of the request, header included, as far as the kernel took them
	span       trace.SpanID
}

// Limited is one limiter's no.
type Limited struct {
	At         time.Time
	Policy     string
	KeyKind    string
	Limit      int
	Window     time.Duration
	RetryAfter time.Duration
}

// Failover is the step from a failed attempt to another backend.
type Failover struct {
	At        time.Time
	From, To  string // host:port
	Reason    Outcome
	Attempt   int // number of the attempt that failed, from 1
	BytesSent int64
}

// Retry is the step from an attempt that failed on a stale connection to a new one at the same backend.
type Retry struct {
	At      time.Time
	Backend string
	Attempt int // number of the attempt that failed, from 1
}

// staleConnection is the only reason for a retry.
const staleConnection = "stale_connection"

var records = sync.Pool{New: func() any {
	return &Record{Attempts: make([]Attempt, 0, 2)}
}}

// Begin opens the record of a request whose context has passed through [Telemetry.Wrap], and
// counts it as active until its End.
func (t *Telemetry) Begin(ctx context.Context, method, scheme string) *Record {
	r := records.Get().(*Record)
	r.t, r.Method, r.Scheme = t, method, scheme
	r.Start = time.Now()
	r.clock.start(r.Start)
	r.identity = identityFrom(ctx)
	r.traceID = r.identity.context.TraceID().String()
	t.active.add(r, 1)
	return r
}

// Enter ends the present phase and begins p, and returns when. Safe for concurrent use.
func (r *Record) Enter(p Phase) time.Time { return r.clock.enter(p) }

// Phase returns the present phase. Safe for concurrent use.
func (r *Record) Phase() Phase { return r.clock.state().phase }

// TraceID returns the trace's id as 32 hexadecimal digits.
func (r *Record) TraceID() string { return r.traceID }

// ServerTiming renders the phases so far as the value of a Server-Timing field (W3C), in
// milliseconds.
func (r *Record) ServerTiming() string {
	r.clock.enter(Own)
	var b []byte
	for i, d := range r.clock.spent {
		if d >= time.Microsecond {
			if len(b) > 0 {
				b = append(b, ", "...)
			}
			b = append(append(b, Phase(i).String()...), ";dur="...)
			b = strconv.AppendFloat(b, milliseconds(d), 'f', -1, 64)
		}
	}
	return string(b)
}

// BeginAttempt opens an attempt at the backend host:port and returns it; it is valid until the next one.
func (r *Record) BeginAttempt(backend, host string, port int) *Attempt {
	r.Attempts = append(r.Attempts, Attempt{
		Backend: backend, Host: host, Port: port,
		Start: r.clock.attempt(backend), span: newSpanID(),
	})
	return &r.Attempts[len(r.Attempts)-1]
}

// EndAttempt closes the attempt begun last.
func (r *Record) EndAttempt() {
	if a := &r.Attempts[len(r.Attempts)-1]; a.End.IsZero() {
		a.End = r.clock.enter(Own)
	}
}

// End closes the record and publishes it. The record may not be touched afterwards.
func (r *Record) End() {
	r.land()
	header := r.end
	r.end = r.clock.enter(Own)
	if n := len(r.Attempts); n > 0 && (r.Attempts[n-1].End.IsZero() || r.Stream != NoStream) {
		r.Attempts[n-1].End = r.end // of a stream, too, the span ends only now
	}
	r.t.active.add(r, -1)
	if r.Stream == NoStream {
		r.t.observe(r)
	} else {
		r.t.streams.end(r, r.end.Sub(header))
	}
	r.t.logAccess(r)
	if !r.t.export(r) {
		r.recycle()
	}
}

func (r *Record) recycle() {
	*r = Record{Attempts: clear0(r.Attempts), Limited: clear0(r.Limited), Failovers: clear0(r.Failovers), Retries: clear0(r.Retries)}
	records.Put(r)
}

// clear0 empties s and keeps its memory, but nothing that it pointed to.
func clear0[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// last returns the attempt begun last, nil if there was none.
func (r *Record) last() *Attempt {
	if len(r.Attempts) == 0 {
		return nil
	}
	return &r.Attempts[len(r.Attempts)-1]
}

// error is why the last attempt failed, in the system's words; "" if it did not, or there are none.
func (r *Record) error() string {
	if a := r.last(); a != nil {
		return a.Error
	}
	return ""
}

// left reports whether the client left before it had the whole response.
func (r *Record) left() bool { return r.Outcome == ClientGone || r.Outcome == ClientAborted }

// errorType is the error.type of the request: the backend's status, pace's word, or "" if nothing went wrong.
func (r *Record) errorType() string {
	switch r.Outcome.Info().ErrorType {
	case NoErrorType:
		return ""
	case TypedByStatus:
		return strconv.Itoa(r.Status)
	}
	return r.Outcome.String()
}

// failed says whether the request is the server's error in the sense of the span status.
func (r *Record) failed() bool {
	return r.Outcome.Info().Span == FailsAlways || r.Status >= 500
}

// errorType is the error.type of the attempt, "" if nothing went wrong.
func (a *Attempt) errorType() string {
	switch {
	case a.Failure != Unset:
		return a.Failure.String()
	case a.Status >= 400:
		return strconv.Itoa(a.Status)
	}
	return ""
}

// failed says whether the attempt's span has the status Error: a client that left is nobody's error.
func (a *Attempt) failed() bool {
	return a.errorType() != "" && a.Failure.Info().Side != ClientSide
}
