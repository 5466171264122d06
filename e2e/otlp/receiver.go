package otlp

import (
	"compress/gzip"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pace/e2e/port"
)

// patience bounds every Wait; it is a bound on failures, not a pause.
const patience = time.Minute

// Fault is a way in which a receiver lets its exporter down.
type Fault int32

const (
	None        Fault = iota
	Hang              // takes requests and never answers
	Unavailable       // UNAVAILABLE or 503: try again later
	Refuse            // INVALID_ARGUMENT or 400: do not try again
	Reset             // resets the connection
	Garbage           // answers with bytes that are neither HTTP nor gRPC
)

// Recv is an OTLP receiver for all signals over gRPC and HTTP/protobuf, on loopback. Under any Fault
// it keeps nothing; [Recv.Reject] makes it keep a part. It is safe for concurrent use.
type Recv struct {
	GRPC, HTTP string // addresses, host:port; over HTTP the paths are /v1/traces, /v1/metrics and /v1/logs

	t        testing.TB
	fault    atomic.Int32
	requests atomic.Int64
	hung     chan struct{} // closed at the end of the test
	stop     func()        // ends what serves at present; nil: nothing does

	mu       sync.Mutex // guards the following
	spans    []Span
	exports  [][]Point // of metrics
	lines    []Line
	headers  map[string]http.Header // of the last request of each signal, by its path
	later    []Later                // responses to the next requests
	arrivals []time.Time            // of requests since Delay was called; nil: it was not
	rejects  int                    // items of each request that are not kept
	why      string                 // what the exporter is told of that
	changed  chan struct{}          // closed and replaced when something arrives
}

// The signals, by their path over HTTP.
const (
	Traces  = "/v1/traces"
	Metrics = "/v1/metrics"
	Logs    = "/v1/logs"
)

// Receiver starts a receiver that lives as long as the test.
func Receiver(t testing.TB) *Recv {
	t.Helper()
	r := &Recv{t: t, hung: make(chan struct{}), changed: make(chan struct{}), headers: map[string]http.Header{}}
	_, r.GRPC = port.Reserve(t)
	_, r.HTTP = port.Reserve(t)
	r.Start()
	t.Cleanup(func() {
		close(r.hung)
		r.Stop()
	})
	return r
}

// Stop ends the receiver's connections, and refuses new ones until Start. It may be called again.
func (r *Recv) Stop() {
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
}

// Start makes a receiver that was stopped serve again, at the same addresses.
func (r *Recv) Start() {
	r.t.Helper()
	overGRPC := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(overGRPC, traceService{r: r})
	metricspb.RegisterMetricsServiceServer(overGRPC, metricsService{r: r})
	logspb.RegisterLogsServiceServer(overGRPC, logsService{r: r})
	go overGRPC.Serve(r.listen(r.GRPC))
	overHTTP := &http.Server{Handler: http.HandlerFunc(r.serveHTTP)}
	go overHTTP.Serve(r.listen(r.HTTP))
	r.stop = func() {
		overGRPC.Stop()
		overHTTP.Close()
	}
}

// Fail makes the receiver misbehave from now on, on connections that are open as well.
func (r *Recv) Fail(f Fault) { r.fault.Store(int32(f)) }

// Reject makes the receiver keep all but the first n items of each request from now on, and say so
// by a partial success with these words. With words alone it keeps all, and warns.
func (r *Recv) Reject(n int, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rejects, r.why = n, why
}

// Requests counts the export requests that came, those under a Fault included; under Reset and
// With Garbage it counts reads, because it cannot know how many requests they contained.
func (r *Recv) Requests() int { return int(r.requests.Load()) }

// Spans returns all spans received so far, in the order of arrival.
func (r *Recv) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.spans)
}

// ByTrace returns the spans received so far of one trace.
func (r *Recv) ByTrace(id string) []Span {
	return slices.DeleteFunc(r.Spans(), func(s Span) bool { return s.TraceID != id })
}

// Wait waits until enough says yes to the spans received, and returns them; the test fails when
// that takes more than a minute.
func (r *Recv) Wait(enough func([]Span) bool) []Span {
	r.t.Helper()
	return wait(r, &r.spans, enough)
}

// wait waits until enough says yes to one of r's lists.
func wait[T any](r *Recv, list *[]T, enough func([]T) bool) []T {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		got, changed := slices.Clone(*list), r.changed
		r.mu.Unlock()
		if enough(got) {
			return got
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("not enough after %s: %d %T in %d requests", patience, len(got), got, r.Requests())
		}
	}
}

// accept stores n items of a signal by calling keep with how many of them are rejected, and returns that.
func (r *Recv) accept(n int, keep func(rejected int)) (rejected int, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rejected = min(r.rejects, n)
	keep(rejected)
	close(r.changed)
	r.changed = make(chan struct{})
	return rejected, r.why
}

// keepSpans stores the accepted spans of a request, and returns the response.
func (r *Recv) keepSpans(req *collectorpb.ExportTraceServiceRequest) *collectorpb.ExportTraceServiceResponse {
	spans := Spans(req.GetResourceSpans())
	rejected, why := r.accept(len(spans), func(rejected int) { r.spans = append(r.spans, spans[rejected:]...) })
	if rejected == 0 && why == "" {
		return &collectorpb.ExportTraceServiceResponse{}
	}
	return &collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: int64(rejected), ErrorMessage: why},
	}
}

type traceService struct {
	collectorpb.UnimplementedTraceServiceServer
	r *Recv
}

// Export is the gRPC side.
func (s traceService) Export(ctx context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	if err := s.r.failGRPC(ctx, Traces); err != nil {
		return nil, err
	}
	return s.r.keepSpans(req), nil
}

// failGRPC returns how a request fails; nil if it does not.
func (r *Recv) failGRPC(ctx context.Context, path string) error {
	r.requests.Add(1)
	fields, _ := metadata.FromIncomingContext(ctx)
	header := http.Header{}
	for name, values := range fields {
		header[http.CanonicalHeaderKey(name)] = values
	}
	r.note(path, header)
	if l, ok := r.next(); ok {
		return l.status()
	}
	switch Fault(r.fault.Load()) {
	case Hang:
		r.hang(ctx)
		return status.FromContextError(context.Canceled).Err()
	case Unavailable:
		return status.Error(codes.Unavailable, "not now")
	case Refuse:
		return status.Error(codes.InvalidArgument, "never")
	}
	return nil
}

func (r *Recv) serveHTTP(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
	r.note(req.URL.Path, req.Header)
	if l, ok := r.next(); ok {
		l.write(w)
		return
	}
	switch Fault(r.fault.Load()) {
	case Hang:
		r.hang(req.Context())
		panic(http.ErrAbortHandler)
	case Unavailable:
		http.Error(w, "not now", http.StatusServiceUnavailable)
		return
	case Refuse:
		http.Error(w, "never", http.StatusBadRequest)
		return
	}
	switch req.URL.Path {
	case Metrics:
		respond(w, req, r.keepMetrics)
	case Logs:
		respond(w, req, r.keepLogs)
	default:
		respond(w, req, r.keepSpans)
	}
}

// respond reads an export request, has keep store it, and writes the response.
func respond[Q any, R proto.Message, P interface {
	*Q
	proto.Message
}](w http.ResponseWriter, req *http.Request, keep func(P) R) {
	export := P(new(Q))
	if err := read(req, export); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := proto.Marshal(keep(export))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(response)
}

func read(req *http.Request, export proto.Message) error {
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return err
		}
		body = unzip
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	return proto.Unmarshal(raw, export)
}

// note keeps the header of a request.
func (r *Recv) note(path string, header http.Header) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.headers[path] = header
}

// Header returns the header, or over gRPC the metadata, of the last request of a signal.
func (r *Recv) Header(signal string) http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.headers[signal]
}

func (r *Recv) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-r.hung:
	}
}

// listen opens a listener whose connections honour Reset and Garbage, for both protocols alike.
func (r *Recv) listen(address string) net.Listener {
	r.t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		r.t.Fatalf("OTLP receiver: %v", err)
	}
	return faultyListener{l, r}
}

type faultyListener struct {
	net.Listener
	r *Recv
}

func (l faultyListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return faultyConn{c.(*net.TCPConn), l.r}, nil
}

type faultyConn struct {
	*net.TCPConn
	r *Recv
}

func (c faultyConn) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	switch fault := Fault(c.r.fault.Load()); fault {
	case Reset, Garbage:
		c.r.requests.Add(1)
		if fault == Garbage {
			io.WriteString(c.TCPConn, "\x00\xffthis is not the telemetry you are looking for\r\n\r\n")
		} else {
			c.SetLinger(0) // so that Close sends RST
		}
		c.Close()
		return 0, io.ErrClosedPipe
	}
	return n, err
}
