// Package check asks a backend again and again whether it is well: by an HTTP request, by a connection, or by
// gRPC's health protocol. Each check has a connection of its own and ends in time, and what a backend responds is
// read up to a limit.
//
// It returns the result of each check as a value. It must not know what follows from a result, the pools of
// connections, or the requests of clients.
package check

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"time"

	"pace/proxy/transport"
)

// Options say how backends are checked. Two that are equal (==) check in the same way.
type Options struct {
	Type     string   // one of [Types]
	Path     string   // of an HTTP request: a path, and perhaps a query
	Host     string   // in the Host field of a request; "": the backend's Authority
	Statuses Statuses // of HTTP responses that pass

	Interval time.Duration // between the beginnings of two checks; each time up to a tenth longer or shorter
	Timeout  time.Duration // of a whole check
}

// Protocol is what a check speaks, as ALPN names it.
func (o Options) Protocol() string {
	if o.Type == "grpc" {
		return "h2"
	}
	return "http/1.1"
}

// Backend is what a check knows of a backend.
type Backend struct {
	Authority string // in the Host field of a request
	Secure    bool   // it is spoken to over TLS
	HTTP2     bool   // it is spoken to over HTTP/2

	// Dial connects to it. The kind says what failed.
	Dial func(context.Context) (net.Conn, transport.Kind, error)
}

// Result is how a check ended.
type Result struct {
	At       time.Time // when it ended
	Duration time.Duration
	Passed   bool
	Status   int    // of the HTTP response; 0: there was none, or none was asked for
	Error    string // why it failed, in words; "" if it passed
}

// UserAgent is what pace calls itself in the requests of its checks.
const UserAgent = "pace-health-check"

// types has what each type does on a connection that was just made. The status is that of an HTTP response.
var types = map[string]func(ctx context.Context, r *Runner, c net.Conn) (status int, err error){
	"http": checkHTTP,
	"tcp":  func(context.Context, *Runner, net.Conn) (int, error) { return 0, nil },
	"grpc": checkGRPC,
}

// Types returns the types of checks.
func Types() []string { return slices.Sorted(maps.Keys(types)) }

// once checks the backend once. ok is false if the check says nothing about the backend.
func (r *Runner) once(ctx context.Context) (result Result, ok bool) {
	began := time.Now()
	timed, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	status, err := r.ask(timed)
	now := time.Now()
	if ctx.Err() != nil || r.isOfPace(err, now.Sub(began)) {
		return Result{}, false
	}
	result = Result{At: now, Duration: now.Sub(began), Passed: err == nil, Status: status}
	if err != nil {
		result.Error = r.words(err, timed.Err() != nil)
	}
	return result, true
}

// suspended is how much longer than twice its timeout a check takes only if this process did not run meanwhile.
const suspended = time.Second

// isOfPace reports whether a check failed because of pace or its machine: there was no descriptor, port or memory
// for a connection, or the process was stopped.
func (r *Runner) isOfPace(err error, took time.Duration) bool {
	e, typed := errors.AsType[*transport.Error](err)
	return typed && e.Kind == transport.Exhausted || err != nil && took > 2*r.o.Timeout+suspended
}

// ask connects, and does what the type of the check is.
func (r *Runner) ask(ctx context.Context) (status int, err error) {
	c, kind, err := r.backend.Dial(ctx)
	if err != nil {
		return 0, &transport.Error{Kind: kind, Phase: transport.Connect, Err: err}
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	return types[r.o.Type](ctx, r, c)
}

// words says why a check failed. It never quotes what a backend sent.
func (r *Runner) words(err error, timeout bool) string {
	e, ok := errors.AsType[*transport.Error](err)
	switch {
	case timeout && ok && e.Kind == transport.ConnectTimeout: // not if a backend that is connected does not begin HTTP/2
		return fmt.Sprintf("no connection within %v", r.o.Timeout)
	case timeout:
		return fmt.Sprintf("no whole response within %v", r.o.Timeout)
	case !ok:
		e = &transport.Error{Kind: transport.Invalid, Err: err}
	}
	return e.Words()
}

// authority is what the Host field of a request says.
func (r *Runner) authority() string { return cmp.Or(r.o.Host, r.backend.Authority) }
