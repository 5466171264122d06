package mix

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"pace/e2e/pacetest"
)

const userAgent = "mix/1.0"

// exchange is one request of the mix: its script, and what its client and its backends recorded.
type exchange struct {
	*kind
	house  *house
	proxy  string // host:port of the proxy under audit
	mode   pacetest.Mode
	tls    *tls.Config // nil: in clear text
	method string
	path   string // unique
	query  string
	body   string
	source string // the client's address, as the proxy in front of pace says
	trace  string // of the traceparent that it sends; of an orphan the one that pace chose, once that is known
	parent string
	orphan bool    // it sends no traceparent, so that pace decides whether the trace is sampled
	quiet  bool    // the trace is not sampled
	luck   float64 // from 0 to 1, for what is left to chance

	patience time.Duration // how long it may take

	client *http.Client
	h3     *pacetest.H3Client // the same, if it speaks HTTP/3
	ctx    context.Context
	cancel context.CancelFunc
	got    pacetest.Response // the client's account
	took   time.Duration     // from before the request to the end of the response, as the client saw it
	after  *exchange         // the one before on its connection, if that was kept

	ready func() // once a backend has got as far as the client waits for
	began <-chan struct{}
	saw   func() // once the client has got as far as the backend waits for
	seen  <-chan struct{}

	mu       sync.Mutex
	attempts []attempt // the backends' account, in order of arrival; guarded by mu
}

// attempt is one attempt as its backend recorded it, or as the recorded traffic shows it if no backend saw it.
type attempt struct {
	backend   string // host:port
	nth       int    // number of the request on its connection, from 1; 0: unknown
	trace     string // of the traceparent that came with it
	span      string
	flags     string
	requestID string
	body      int // bytes of the request's body, if it came whole; -1: it did not, or nobody knows
	ending
}

// ending is how an attempt ended by its backend's doing, in the words that metric and span must use.
type ending struct {
	status  int    // 0: no header was sent
	failure string // error.type
	begun   bool   // some of a header was sent
}

// flagOf returns a channel and what closes it, once.
func flagOf() (raise func(), raised <-chan struct{}) {
	c := make(chan struct{})
	return sync.OnceFunc(func() { close(c) }), c
}

// run runs the exchange. It uses these clients unless the kind needs its own connection.
func (x *exchange) run(own *ownClients) {
	x.begin()
	defer x.cancel()
	if x.client = own.speak[x.mode]; x.tls != nil {
		x.client, x.h3 = own.secure[x.mode], own.h3
	}
	x.ctx = httptrace.WithClientTrace(x.ctx, &httptrace.ClientTrace{
		GotConn:          func(c httptrace.GotConnInfo) { x.after = own.follows(c.Conn.LocalAddr(), x) },
		TLSHandshakeDone: func(_ tls.ConnectionState, err error) { x.shook(err) },
	})
	drive := x.drive
	if drive == nil {
		drive = send
	}
	began := time.Now()
	x.got = drive(x)
	x.took = time.Since(began)
}

// shook notes that the client has made a handshake with the house.
func (x *exchange) shook(err error) {
	if err == nil {
		x.house.handshakes.Add(1)
	}
}

// scheme is that of the URLs that the client asks for.
func (x *exchange) scheme() string {
	if x.tls != nil {
		return "https"
	}
	return "http"
}

// speaks says what the client speaks, for a reader.
func (x *exchange) speaks() string {
	if x.tls != nil {
		return strings.TrimSuffix(string(x.mode), "c") + " and TLS"
	}
	return string(x.mode)
}

// begin gives the exchange its time.
func (x *exchange) begin() {
	x.ctx, x.cancel = context.WithTimeout(context.Background(), x.patience)
}

// await waits until a signal is raised, or the exchange has taken too long.
func (x *exchange) await(raised <-chan struct{}) {
	select {
	case <-raised:
	case <-x.ctx.Done():
	}
}

// target is the path with its query.
func (x *exchange) target() string {
	if x.query == "" {
		return x.path
	}
	return x.path + "?" + x.query
}

func (x *exchange) traceparent() string {
	if x.quiet {
		return "00-" + x.trace + "-" + x.parent + "-00"
	}
	return "00-" + x.trace + "-" + x.parent + "-01"
}

// fields returns the header fields with the client's address and the trace.
func (x *exchange) fields() map[string]string {
	fields := map[string]string{"User-Agent": userAgent, "X-Forwarded-For": x.source}
	if !x.orphan {
		fields["Traceparent"] = x.traceparent()
	}
	return fields
}

// request makes the request with this body.
func (x *exchange) request(body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(x.ctx, x.method, x.scheme()+"://"+x.proxy+x.target(), body)
	if err != nil {
		panic(err) // the script made it
	}
	for name, value := range x.fields() {
		req.Header.Set(name, value)
	}
	// net/http sends a request again, without a word, if its connection broke: but what a client has
	// sent is the truth here. It does not if it cannot have the body again.
	req.GetBody = nil
	if x.body == "" && x.mode == pacetest.H1 {
		req.Body = io.NopCloser(strings.NewReader(""))
	}
	return req
}

// head is the request's header as raw bytes, with more lines.
func (x *exchange) head(lines string) string {
	for name, value := range x.fields() {
		lines += name + ": " + value + "\r\n"
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", x.method, x.target(), x.proxy, lines)
}

// whole reports whether the client got a complete response.
func (x *exchange) whole() bool { return x.got.Status > 0 && x.got.Err == nil }

// faults returns how the client's result differs from that of its kind.
func (x *exchange) faults() (list []string) {
	outcome, status := x.ends()
	want := status
	if x.left || x.refused != "" {
		want = x.clientStatus
	}
	// Over HTTP/3 the reset of a stream may overtake what was sent on it before, the header included.
	lost := x.mode == pacetest.H3 && outcome == "upstream_truncated" && x.got.Status == 0
	if x.got.Status != want && !lost {
		fault := fmt.Sprintf("the client got status %d (%v), want %d", x.got.Status, x.got.Err, want)
		if x.after != nil {
			fault += fmt.Sprintf("; before, %s had got %d (%v) on its connection", x.after.path, x.after.got.Status, x.after.got.Err)
		}
		list = append(list, fault)
	}
	broken := x.broken || x.left || outcome == "upstream_truncated"
	if (x.got.Err != nil) != broken {
		list = append(list, fmt.Sprintf("the client's response ended with %v", x.got.Err))
	}
	if x.house != nil && x.house.name == "slow" && !x.overdue && x.took > slowAfter {
		list = append(list, fmt.Sprintf("it took %v, so it may have been slow: the machine has too much to do for this test", x.took))
	}
	if x.got.Status > 0 && x.refused == "" && x.got.Header.Get("X-Trace-Id") != x.trace {
		list = append(list, fmt.Sprintf("X-Trace-Id is %q, want the trace that was sent, %s", x.got.Header.Get("X-Trace-Id"), x.trace))
	}
	return list
}

// ends returns the outcome of the exchange, and its status in telemetry.
func (x *exchange) ends() (outcome string, status int) {
	if x.decide != nil {
		return x.decide(x)
	}
	return x.outcome, x.status
}

// backend returns the address of the backend that responded, host:port; "" if none did.
func (x *exchange) backend() string {
	name, ok := strings.CutPrefix(x.got.Header.Get("X-Backend"), "backend_")
	if !ok {
		return ""
	}
	return strings.Replace(name, "_", ":", 1)
}

// knownMethod is the method as labels and attributes have it.
func (x *exchange) knownMethod() string {
	if x.method == "BREW" {
		return "_OTHER"
	}
	return x.method
}
