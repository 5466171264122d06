package telemetry

import (
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"go.opentelemetry.io/otel/trace"
)

// Record is what is known of one exchange. It is nothing but data: it publishes nothing itself, and does not
// know who does.
//
// Its life: [Telemetry.Begin] takes it from a pool. Until [Telemetry.End] it belongs to the goroutine of
// the handler; a goroutine that runs concurrently may call Enter, Present and Moved, and nothing else.
// Once the handler has shown the record to others (Exchange.Show of proxy/front), they may also read what
// the request says of itself: Start to Trace, and Route. The handler writes none of these fields after that.
// After its end it is read-only, and belongs to all its holders: End while it publishes the record, and each
// [Signal] that has called Retain. The last Release gives it back to the pool. A holder may not touch it
// after its own Release. The handler holds it until End returns.
type Record struct {
	// The request. Strings from the wire may be hostile; they are cleaned where they are published.
	Start       time.Time
	Method      string          // as the client wrote it
	Scheme      string          // "http", "https"
	Host        string          // the Host field or :authority
	Path        string          // escaped
	Query       string          // raw; redacted where it is published
	QueryAllow  map[string]bool // parameters whose values are published; shared, and never written
	Protocol    string          // "1.0", "1.1", "2", "3"
	TLS         string          // the version of TLS that the client speaks to pace: "1.3"; "": none
	Cipher      string          // and its cipher suite
	TLSClient   string          // the subject of the client's certificate, which is verified; "": none
	UserAgent   string
	RequestID   string
	Peer        string        // address of the connected peer
	PeerPort    int           // and its port
	Client      string        // address of the client, as trusted proxies report it
	GRPC        bool          // it is a gRPC call
	GRPCTimeout time.Duration // how long the client of a gRPC call waits for its end; 0: without limit
	Identity    Identity
	Trace       string // Identity's trace, in text

	// What became of it.
	Route      *Route // nil until it is known
	Upstream   string // the pool's name, "" if none was asked
	SentPath   string // as backends get it, if the route changes it; else ""
	Repeatable bool   // its method may be done twice
	Attempts   []Attempt
	Passed     []Passed
	Limited    []Limited
	Failovers  []Failover
	Retries    []Retry
	Ejected    []Ejected
	OverBudget []OverBudget
	NoFurther  NoFurther // why the last attempt was not followed by another one
	Delivered  int       // number of the attempt whose response the client got, from 1, if it was not the last; else 0
	Mirrored   []Mirrored
	Mirror     bool     // it is the copy of a request: it has attempts, and is no exchange with a client
	Status     int      // what the client got; 499 if it left before
	GRPCCode   GRPCCode // what a gRPC client got, or was told by its own deadline
	BytesIn    int64    // of the request's body
	BytesOut   int64    // of the response's body
	Outcome    Outcome
	Stream     StreamKind                // set by [Telemetry.BecomeStream]; the outcome is then that of the header
	Closed     CloseReason               // how a stream ended
	LeftIn     Phase                     // the phase in which the client left, if the outcome says that it did
	Phases     [PhaseCount]time.Duration // how long the exchange was in each; zero until it is published
	Streamed   time.Time                 // when it became a stream; zero if it did not
	End        time.Time                 // zero until then
	Slow       time.Duration             // an exchange that takes longer is interesting; 0: none is for that
	Reason     KeepReason                // why it is interesting; zero until its trace is decided on
	Export     Export                    // whether its trace is exported
	Moving     *Traffic                  // counts what a stream moves; set by a signal as it becomes one; nil: nobody counts

	clock   clock
	holders atomic.Int32 // at 0 it is in the pool
	signals []Signal     // to which it is published; set as it begins
}

// Attempt is one try at one backend, beginning with its pick.
type Attempt struct {
	Backend    string // host:port
	Host       string
	Port       int
	Start, End time.Time
	Responded  time.Time     // when the header of the backend's response was complete; zero if none came
	Waited     time.Duration // for that header
	Status     int           // of the backend's response, 0 if none came
	GRPCCode   GRPCCode      // of the backend's response to a gRPC call, once that is whole
	Failure    Outcome       // why it failed or was cut short, Unset if it did not
	Error      string        // the error of the system; "" if there is none
	PickReason string        // why the policy's first choice was not taken; "" if it was
	Reused     bool          // the connection came from the pool
	Secure     bool          // the backend is asked over TLS
	Remote     netip.AddrPort
	Protocol   string // HTTP version of the backend's response, "1.0" or "1.1"; "" if none came
	BytesSent  int64  // of the request, header included, as far as the kernel took them
	Span       trace.SpanID

	waitedBefore time.Duration // in the exchange's other attempts
}

// Passed is the limit that let the request pass; of several limits, the one of whose quota the least remains.
type Passed struct {
	Policy string
	Used   int // of the quota, with this request
	Limit  int
}

// Limited is the rejection of a request by one limit.
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
	Reason    string // one of FailoverReasons
	Attempt   int    // number of the attempt that failed, from 1
	BytesSent int64
}

// Retry is the step from an attempt that failed on a stale connection, or that the backend has not processed, to a new
// one at the same backend.
type Retry struct {
	At      time.Time
	Backend string
	Reason  string // one of RetryReasons
	Attempt int    // number of the attempt that failed, from 1
}

// Ejected is the ejection of a backend that the request caused.
type Ejected struct {
	At      time.Time
	Backend string // host:port
	Reason  string // in words
}

// Mirrored is the copy of a request that was sent to another upstream.
type Mirrored struct {
	At       time.Time
	Upstream string
}

var records = sync.Pool{New: func() any {
	return &Record{Attempts: make([]Attempt, 0, 2)}
}}

// begin takes a record from the pool, for one holder.
func begin(identity Identity) *Record {
	r := records.Get().(*Record)
	r.holders.Store(1)
	r.Start = time.Now()
	r.clock.start(r.Start)
	r.Identity = identity
	r.Trace = identity.Context.TraceID().String()
	return r
}

// Retain makes the caller one more holder of an ended record, until it calls Release.
func (r *Record) Retain() { r.holders.Add(1) }

// Release ends the caller's hold. The last holder's gives the record back to the pool.
func (r *Record) Release() {
	switch n := r.holders.Add(-1); {
	case n < 0:
		panic("pace: BUG: a record was released more often than it was held")
	case n == 0:
		*r = Record{Attempts: emptied(r.Attempts), Passed: emptied(r.Passed), Limited: emptied(r.Limited), Failovers: emptied(r.Failovers), Retries: emptied(r.Retries), Ejected: emptied(r.Ejected), OverBudget: emptied(r.OverBudget), Mirrored: emptied(r.Mirrored)}
		records.Put(r)
	}
}

// emptied empties s and keeps its memory, but nothing that it pointed to.
func emptied[T any](s []T) []T {
	clear(s)
	return s[:0]
}

// Size is about how many bytes of memory an ended record holds.
func (r *Record) Size() int {
	n := int(unsafe.Sizeof(*r)) + len(r.Method) + len(r.Host) + len(r.Path) + len(r.SentPath) + len(r.Query) + len(r.UserAgent) + len(r.RequestID) + len(r.Client)
	n += len(r.Attempts) * int(unsafe.Sizeof(Attempt{}))
	for i := range r.Attempts {
		n += len(r.Attempts[i].Error)
	}
	for _, e := range r.Ejected {
		n += int(unsafe.Sizeof(e)) + len(e.Reason)
	}
	return n
}

// Enter ends the present phase and begins p, and returns when. Safe for concurrent use.
func (r *Record) Enter(p Phase) time.Time { return r.clock.enter(p) }

// Phase returns the present phase. Safe for concurrent use.
func (r *Record) Phase() Phase { return r.Present().Phase }

// Present returns what the exchange does at this instant. Safe for concurrent use.
func (r *Record) Present() Present { return r.clock.now() }

// TraceID returns the trace's id as 32 hexadecimal digits.
func (r *Record) TraceID() string { return r.Trace }

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
			b = strconv.AppendFloat(b, Milliseconds(d), 'f', -1, 64)
		}
	}
	return string(b)
}

// BeginAttempt opens an attempt at the backend host:port and returns it; it is valid until the next one.
func (r *Record) BeginAttempt(backend, host string, port int) *Attempt {
	r.Attempts = append(r.Attempts, Attempt{
		Backend: backend, Host: host, Port: port,
		Start: r.clock.attempt(backend), Span: NewSpanID(), waitedBefore: r.clock.in(Wait),
	})
	return &r.Attempts[len(r.Attempts)-1]
}

// EndAttempt closes the attempt begun last.
func (r *Record) EndAttempt() {
	if a := &r.Attempts[len(r.Attempts)-1]; a.End.IsZero() {
		a.End = r.clock.enter(Own)
		a.Waited = r.clock.in(Wait) - a.waitedBefore
	}
}

// end stops the clock and ends the last attempt.
func (r *Record) end() {
	r.End = r.clock.enter(Own)
	r.Phases = r.clock.phases()
	a := r.last()
	if a != nil && a.End.IsZero() {
		a.Waited = r.Phases[Wait] - a.waitedBefore
	}
	if a != nil && (a.End.IsZero() || r.Stream != NoStream) {
		a.End = r.End // the span of a stream ends only now, too
	}
}

// last returns the attempt begun last, nil if there was none.
func (r *Record) last() *Attempt {
	if len(r.Attempts) == 0 {
		return nil
	}
	return &r.Attempts[len(r.Attempts)-1]
}

// LastError is the error of the last attempt, in the system's words; "" if there is none.
func (r *Record) LastError() string {
	if a := r.last(); a != nil {
		return a.Error
	}
	return ""
}

// ClientLeft reports whether the client left before it had the whole response.
func (r *Record) ClientLeft() bool { return r.Outcome == ClientGone || r.Outcome == ClientAborted }

// ErrorType is the error.type of the request: the name of the code that a gRPC client got, the backend's status, the
// word of the outcome, or "" if nothing went wrong.
func (r *Record) ErrorType() string {
	if r.GRPCCode > GRPCOK {
		return r.GRPCCode.String()
	}
	switch r.Outcome.Info().ErrorType {
	case NoErrorType:
		return ""
	case TypedByStatus:
		return strconv.Itoa(r.Status)
	}
	return r.Outcome.String()
}

// Failed reports whether the SERVER span has the status Error.
func (r *Record) Failed() bool {
	return r.Outcome.Info().Span == FailsAlways || r.Status >= 500 || r.GRPCCode.Faulty()
}

// ErrorType is the error.type of the attempt, "" if nothing went wrong.
func (a *Attempt) ErrorType() string {
	switch {
	case a.Failure != Unset:
		return a.Failure.String()
	case a.GRPCCode > GRPCOK:
		return a.GRPCCode.String()
	case a.Status >= 400:
		return strconv.Itoa(a.Status)
	}
	return ""
}

// Failed reports whether the attempt's span has the status Error. A client that left is no error of the
// backend.
func (a *Attempt) Failed() bool {
	return a.ErrorType() != "" && a.Failure.Info().Side != ClientSide
}
