package observability

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"

	"pace/e2e/pacetest"
)

// userAgent is what all clients say they are.
const userAgent = "mix/1.0"

// exchange is one request of the mix and what its client knows of it.
type exchange struct {
	*kind
	t      testing.TB
	house  *house
	ledger *ledger
	mode   pacetest.Mode
	method string
	target string // unique, but for CONNECT's
	query  string
	body   string
	source string // the client's address, as the proxy in front says
	trace  string // of the traceparent that it sends
	parent string
	client *http.Client
	ctx    context.Context
	cancel context.CancelFunc
	got    pacetest.Response
}

// run carries it out.
func (x *exchange) run() {
	x.ctx, x.cancel = context.WithTimeout(context.Background(), pacetest.Patience)
	defer x.cancel()
	x.client = x.mode.Client(x.t) // its own connections, so that no exchange hangs on another's
	defer x.client.CloseIdleConnections()
	drive := x.drive
	if drive == nil {
		drive = send
	}
	x.got = drive(x)
	for _, fault := range x.faults() {
		x.t.Errorf("%s %s over %s: %s", x.method, x.target, x.mode, fault)
	}
}

// faults says how what the client saw differs from what its kind must see.
func (x *exchange) faults() (list []string) {
	want := x.status
	if x.left {
		want = 0
	}
	if x.got.Status != want {
		list = append(list, fmt.Sprintf("the client got status %d (%v), want %d", x.got.Status, x.got.Err, want))
	}
	if broken := x.got.Err != nil; broken != (x.broken || x.left) {
		list = append(list, fmt.Sprintf("the client's answer ended with %v", x.got.Err))
	}
	if x.got.Status > 0 && x.got.Header.Get("X-Trace-Id") != x.trace {
		list = append(list, fmt.Sprintf("X-Trace-Id is %q, want the trace that was sent, %s", x.got.Header.Get("X-Trace-Id"), x.trace))
	}
	return list
}

func (x *exchange) traceparent() string { return "00-" + x.trace + "-" + x.parent + "-01" }

// url is the target with its query.
func (x *exchange) url() string {
	if x.query == "" {
		return x.target
	}
	return x.target + "?" + x.query
}

// fields are the header fields that say who asks, and in which trace.
func (x *exchange) fields() map[string]string {
	return map[string]string{"User-Agent": userAgent, "Traceparent": x.traceparent(), "X-Forwarded-For": x.source}
}

// request makes the request with this body.
func (x *exchange) request(body io.Reader) *http.Request {
	req, err := http.NewRequestWithContext(x.ctx, x.method, "http://"+x.house.Proxy+x.url(), body)
	if err != nil {
		panic(err) // the script made it
	}
	for name, value := range x.fields() {
		req.Header.Set(name, value)
	}
	return req
}

// head is the request's header as raw bytes, with more lines.
func (x *exchange) head(target, lines string) string {
	for name, value := range x.fields() {
		lines += name + ": " + value + "\r\n"
	}
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", x.method, target, x.house.Proxy, lines)
}
