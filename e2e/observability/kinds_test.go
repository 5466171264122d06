package observability

import (
	"fmt"
	"io"
	"strings"

	"pace/e2e/pacetest"
)

// kind is one way in which an exchange can go. Its name is the first segment of its targets.
type kind struct {
	name    string
	house   string
	times   int
	method  string // "": GET
	outcome string
	status  int // in telemetry; the client sees it too unless it left
	broken  bool
	left    bool      // the client leaves before an answer
	h1      bool      // over HTTP/1.1 only
	attempt behaviour // nil: no backend is reached
	drive   func(x *exchange) pacetest.Response
}

// kinds has every outcome of interface.md that a request can bring about. no_backend and
// internal_error are missing: nothing that comes over the wire causes them. Draining has its own test.
var kinds = []kind{
	{name: "fine", house: "main", times: 60, outcome: "ok", status: 200, attempt: answers(200, "")},
	{name: "post", house: "main", times: 40, method: "POST", outcome: "ok", status: 200, attempt: answers(200, "")},
	{name: "put", house: "main", times: 10, method: "PUT", outcome: "ok", status: 201, attempt: answers(201, "")},
	{name: "head", house: "main", times: 10, method: "HEAD", outcome: "ok", status: 200, attempt: answers(200, "")},
	{name: "brew", house: "main", times: 10, method: "BREW", outcome: "ok", status: 200, attempt: answers(200, "")},
	{name: "empty", house: "main", times: 10, method: "DELETE", outcome: "ok", status: 204, attempt: answers(204, "")},
	{name: "moved", house: "main", times: 10, outcome: "ok", status: 302, attempt: answers(302, "Location: /fine\r\n")},
	{name: "missing", house: "main", times: 30, outcome: "client_error", status: 404, attempt: answers(404, "")},
	{name: "error", house: "main", times: 30, outcome: "upstream_error", status: 500, attempt: answers(500, "")},
	{name: "busy", house: "main", times: 10, outcome: "upstream_error", status: 503, attempt: answers(503, "")},

	{name: "cut", house: "main", times: 20, outcome: "upstream_truncated", status: 200, broken: true,
		attempt: always(ending{200, "upstream_truncated"}, pacetest.CutLength)},
	{name: "cutchunk", house: "main", times: 20, outcome: "upstream_truncated", status: 200, broken: true,
		attempt: always(ending{200, "upstream_truncated"}, pacetest.CutChunked)},
	{name: "reset", house: "main", times: 20, outcome: "upstream_reset", status: 502,
		attempt: always(ending{0, "upstream_reset"}, pacetest.ResetBefore)},
	{name: "resetpost", house: "main", times: 20, method: "POST", outcome: "upstream_reset", status: 502,
		attempt: always(ending{0, "upstream_reset"}, pacetest.ResetBefore)},
	{name: "once", house: "main", times: 30, outcome: "ok", status: 200, attempt: resetsFirst},
	{name: "garbage", house: "main", times: 20, outcome: "upstream_invalid", status: 502,
		attempt: always(ending{0, "upstream_invalid"}, pacetest.Garbage)},
	{name: "garbagepost", house: "main", times: 10, method: "POST", outcome: "upstream_invalid", status: 502,
		attempt: always(ending{0, "upstream_invalid"}, pacetest.Garbage)},

	{name: "leave", house: "main", times: 30, outcome: "client_gone", status: 499, left: true,
		attempt: always(ending{0, "client_gone"}, pacetest.Hang), drive: leave},
	{name: "abort", house: "main", times: 20, outcome: "client_aborted", status: 200, broken: true,
		attempt: always(ending{200, "client_aborted"}, pacetest.Endless), drive: abort},
	{name: "upgrade", house: "main", times: 10, outcome: "upgraded", status: 101,
		attempt: always(ending{101, ""}, pacetest.UpgradeEcho), drive: upgrade, h1: true},
	{name: "large", house: "main", times: 10, method: "POST", outcome: "too_large", status: 413},
	{name: "growing", house: "main", times: 5, method: "POST", outcome: "too_large", status: 413,
		attempt: always(ending{0, "too_large"}, pacetest.Fine), drive: grow},
	{name: "connect", house: "main", times: 5, method: "CONNECT", outcome: "bad_request", status: 400, drive: connect, h1: true},
	{name: "mangled", house: "main", times: 5, method: "POST", outcome: "bad_request", status: 400,
		attempt: always(ending{0, "bad_request"}, pacetest.Fine), drive: mangle, h1: true},
	{name: "limited", house: "main", times: 40, outcome: "rate_limited", status: 429},

	{name: "hang", house: "strict", times: 10, outcome: "upstream_timeout", status: 504,
		attempt: always(ending{0, "upstream_timeout"}, pacetest.Hang)},
	{name: "hangpost", house: "strict", times: 10, method: "POST", outcome: "upstream_timeout", status: 504,
		attempt: always(ending{0, "upstream_timeout"}, pacetest.Hang)},
	{name: "stall", house: "brief", times: 10, method: "POST", outcome: "request_timeout", status: 408,
		attempt: always(ending{0, "request_timeout"}, pacetest.Fine), drive: stall, h1: true},
	{name: "stale", house: "lone", times: 40, outcome: "ok", status: 200, attempt: closesReused},
	{name: "half", house: "half", times: 40, outcome: "ok", status: 200, attempt: answers(200, "")},
	{name: "dead", house: "dead", times: 20, outcome: "connect_failed", status: 502},
	{name: "deadpost", house: "dead", times: 10, method: "POST", outcome: "connect_failed", status: 502},
	{name: "far", house: "far", times: 10, outcome: "connect_timeout", status: 504},
}

// behaviours is what backends do, by the first segment of the target.
func behaviours() map[string]behaviour {
	all := map[string]behaviour{}
	for _, k := range kinds {
		all[k.name] = k.attempt
	}
	return all
}

func always(e ending, act pacetest.Answer) behaviour {
	return func(int, *pacetest.Exchange) (ending, pacetest.Answer) { return e, act }
}

// answers is an answer with a status; one of 400 or more is its own error.type.
func answers(status int, header string) behaviour {
	e := ending{status: status}
	if status >= 400 {
		e.failure = fmt.Sprint(status)
	}
	return always(e, pacetest.With(status, header, "as scripted"))
}

// resetsFirst resets the first attempt at a target and answers the second.
func resetsFirst(nth int, x *pacetest.Exchange) (ending, pacetest.Answer) {
	if nth == 0 {
		return ending{0, "upstream_reset"}, pacetest.ResetBefore
	}
	return answers(200, "")(nth, x)
}

// closesReused ends a connection in the moment in which it is used again, as a backend does whose
// idle time is over.
func closesReused(nth int, x *pacetest.Exchange) (ending, pacetest.Answer) {
	if x.Nth > 1 {
		return ending{0, "upstream_reset"}, pacetest.CloseBefore
	}
	return answers(200, "")(nth, x)
}

// send is what most kinds do: send the request, read the answer.
func send(x *exchange) pacetest.Response {
	return pacetest.Do(x.client, x.request(strings.NewReader(x.body)))
}

// leave gives up as soon as a backend has the request.
func leave(x *exchange) pacetest.Response {
	go func() {
		x.ledger.await(x.ctx, x.target)
		x.cancel()
	}()
	return send(x)
}

// abort gives up in the body of an answer without end.
func abort(x *exchange) pacetest.Response {
	resp, err := x.client.Do(x.request(nil))
	if err != nil {
		return pacetest.Response{Err: err}
	}
	io.CopyN(io.Discard, resp.Body, 64<<10)
	x.cancel()
	return pacetest.Read(resp)
}

// grow sends more than is allowed, in a body that does not say its size, once a backend has the rest.
func grow(x *exchange) pacetest.Response {
	body, more := io.Pipe()
	go func() {
		io.WriteString(more, strings.Repeat("x", 1000))
		x.ledger.await(x.ctx, x.target)
		io.WriteString(more, strings.Repeat("x", maxBody))
		more.Close()
	}()
	return pacetest.Do(x.client, x.request(body))
}

// message is what goes over an upgraded connection, both ways.
const message = "ping"

// upgrade switches protocols and has one message echoed.
func upgrade(x *exchange) pacetest.Response {
	w := pacetest.DialWire(x.t, x.house.Proxy)
	defer w.Close()
	w.Send(x.head(x.url(), "Connection: Upgrade\r\nUpgrade: echo\r\n"))
	resp := w.Head(x.method)
	w.Send(message)
	echo := make([]byte, len(message))
	_, err := io.ReadFull(w.R, echo)
	return pacetest.Response{Status: resp.StatusCode, Header: resp.Header, Body: string(echo), Err: err}
}

// connect asks for a tunnel.
func connect(x *exchange) pacetest.Response {
	return raw(x, x.head("x:1", ""))
}

// mangle sends a body that breaks off its own coding, once a backend has the rest.
func mangle(x *exchange) pacetest.Response {
	return raw(x, x.head(x.url(), "Transfer-Encoding: chunked\r\n")+"5\r\nhello\r\n", "this is no chunk\r\n")
}

// stall sends half of a body, and nothing more.
func stall(x *exchange) pacetest.Response {
	return raw(x, x.head(x.url(), "Content-Length: 10\r\n")+"hello")
}

// raw sends bytes, and the rest of them once a backend has the request, and reads the answer.
func raw(x *exchange, first string, rest ...string) pacetest.Response {
	w := pacetest.DialWire(x.t, x.house.Proxy)
	defer w.Close()
	w.Send(first)
	for _, more := range rest {
		x.ledger.await(x.ctx, x.target)
		w.Send(more)
	}
	return w.Response(x.method)
}
