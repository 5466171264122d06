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

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // exporters may compress
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// patience bounds every Wait; it is a bound on failures, not a pause.
const patience = 15 * time.Second

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

// Recv is an OTLP receiver for traces over gRPC and HTTP/protobuf, on loopback. Under any Fault
// it keeps nothing; [Recv.Reject] makes it keep a part. It is safe for concurrent use.
type Recv struct {
	GRPC, HTTP string // addresses, host:port; over HTTP the path is /v1/traces

	t        testing.TB
	fault    atomic.Int32
	requests atomic.Int64
	hung     chan struct{} // closed at the end of the test

	mu      sync.Mutex // guards the following
	spans   []Span
	rejects int           // spans of each request that are not kept
	why     string        // what the exporter is told of that
	changed chan struct{} // closed and replaced when spans arrive
}

// Receiver starts a receiver that lives as long as the test.
func Receiver(t testing.TB) *Recv {
	t.Helper()
	r := &Recv{t: t, hung: make(chan struct{}), changed: make(chan struct{})}

	overGRPC := grpc.NewServer()
	collectorpb.RegisterTraceServiceServer(overGRPC, traceService{r: r})
	grpcListener := r.listen()
	r.GRPC = grpcListener.Addr().String()
	go overGRPC.Serve(grpcListener)

	overHTTP := &http.Server{Handler: http.HandlerFunc(r.serveHTTP)}
	httpListener := r.listen()
	r.HTTP = httpListener.Addr().String()
	go overHTTP.Serve(httpListener)

	t.Cleanup(func() {
		close(r.hung)
		overGRPC.Stop()
		overHTTP.Close()
	})
	return r
}

// Fail makes the receiver misbehave from now on, on connections that are open as well.
func (r *Recv) Fail(f Fault) { r.fault.Store(int32(f)) }

// Reject makes the receiver keep all but the first n spans of each request from now on, and say so
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
// that takes more than 15 s.
func (r *Recv) Wait(enough func([]Span) bool) []Span {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		spans, changed := slices.Clone(r.spans), r.changed
		r.mu.Unlock()
		if enough(spans) {
			return spans
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("not enough after %s: %d spans in %d requests", patience, len(spans), r.Requests())
		}
	}
}

// keep stores the accepted spans of a request, and returns the response.
func (r *Recv) keep(req *collectorpb.ExportTraceServiceRequest) *collectorpb.ExportTraceServiceResponse {
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := Spans(req.GetResourceSpans())
	rejected := min(r.rejects, len(spans))
	r.spans = append(r.spans, spans[rejected:]...)
	close(r.changed)
	r.changed = make(chan struct{})
	if rejected == 0 && r.why == "" {
		return &collectorpb.ExportTraceServiceResponse{}
	}
	return &collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: int64(rejected), ErrorMessage: r.why},
	}
}

type traceService struct {
	collectorpb.UnimplementedTraceServiceServer
	r *Recv
}

// Export is the gRPC side.
func (s traceService) Export(ctx context.Context, req *collectorpb.ExportTraceServiceRequest) (*collectorpb.ExportTraceServiceResponse, error) {
	s.r.requests.Add(1)
	switch Fault(s.r.fault.Load()) {
	case Hang:
		s.r.hang(ctx)
		return nil, status.FromContextError(context.Canceled).Err()
	case Unavailable:
		return nil, status.Error(codes.Unavailable, "not now")
	case Refuse:
		return nil, status.Error(codes.InvalidArgument, "never")
	}
	return s.r.keep(req), nil
}

func (r *Recv) serveHTTP(w http.ResponseWriter, req *http.Request) {
	r.requests.Add(1)
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
	export, err := readExport(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	response, err := proto.Marshal(r.keep(export))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
	w.Write(response)
}

func readExport(req *http.Request) (*collectorpb.ExportTraceServiceRequest, error) {
	var body io.Reader = req.Body
	if req.Header.Get("Content-Encoding") == "gzip" {
		unzip, err := gzip.NewReader(body)
		if err != nil {
			return nil, err
		}
		body = unzip
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	export := new(collectorpb.ExportTraceServiceRequest)
	return export, proto.Unmarshal(raw, export)
}

func (r *Recv) hang(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-r.hung:
	}
}

// listen opens a listener whose connections honour Reset and Garbage, for both protocols alike.
func (r *Recv) listen() net.Listener {
	r.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
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
