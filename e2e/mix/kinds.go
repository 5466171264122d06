package mix

import (
	"slices"

	"pace/e2e/pacetest"
)

// kind is one way in which an exchange can go. Its name is the first segment of its paths, so that
// backends know what to do.
type kind struct {
	name    string
	house   string
	share   int    // of 1000 requests
	method  string // "": GET
	outcome string
	status  int                                          // in telemetry; the client sees it too unless it left
	decide  func(*exchange) (outcome string, status int) // where chance decides the outcome; nil: the two above

	h1           bool // over HTTP/1.1 only
	broken       bool // the response is aborted, by the backend, pace or the client
	left         bool // the client leaves before a response
	clientStatus int  // the status that the client gets, if telemetry has another one, or none because the request is refused
	body         int  // bytes of the request's body; 0 of a POST or PUT: at random

	part    int // bytes of the response's body that pace forwards; 0: as many as the client gets, -1: unknown
	serve   behaviour
	unread  bool   // the backend does not wait for the whole body
	stream  string // the kind of stream that it becomes
	closed  string // the close reason of that stream
	refused string // why it never reaches the handler
	overdue bool   // it takes longer than its house allows

	drive func(*exchange) pacetest.Response // nil: send
	peers bool                              // also part of the mix for other proxies, because it needs no setting of pace
}

// kinds has every outcome of interface.md that a request can bring about. no_backend and
// internal_error are missing: nothing that comes over the wire causes them. Draining has a script of
// its own.
var kinds = []kind{
	{name: "fine", house: "main", share: 200, outcome: "ok", status: 200, serve: responds(200, ""), peers: true},
	{name: "chunked", house: "main", share: 40, outcome: "ok", status: 200, serve: always(ending{status: 200}, chunked), peers: true},
	{name: "closing", house: "main", share: 15, outcome: "ok", status: 200, serve: always(ending{status: 200}, closing), peers: true},
	{name: "slow", house: "main", share: 15, outcome: "ok", status: 200, serve: slow, peers: true},
	{name: "hints", house: "main", share: 10, outcome: "ok", status: 200, serve: always(ending{status: 200}, hints)},
	{name: "download", house: "main", share: 4, outcome: "ok", status: 200, serve: always(ending{status: 200}, download), peers: true},
	{name: "post", house: "main", share: 50, method: "POST", outcome: "ok", status: 200, serve: responds(200, ""), peers: true},
	{name: "upload", house: "main", share: 15, method: "POST", outcome: "ok", status: 200, serve: responds(200, ""), drive: upload, peers: true},
	{name: "put", house: "main", share: 15, method: "PUT", outcome: "ok", status: 201, serve: responds(201, ""), peers: true},
	{name: "head", house: "main", share: 15, method: "HEAD", outcome: "ok", status: 200, serve: responds(200, ""), peers: true},
	{name: "brew", house: "main", share: 10, method: "BREW", outcome: "ok", status: 200, serve: responds(200, "")},
	{name: "empty", house: "main", share: 15, method: "DELETE", outcome: "ok", status: 204, serve: responds(204, ""), peers: true},
	{name: "moved", house: "main", share: 10, outcome: "ok", status: 302, serve: responds(302, "Location: /fine\r\n"), peers: true},
	{name: "old", house: "main", share: 10, outcome: "ok", status: 200, serve: responds(200, ""), drive: old, h1: true},
	{name: "missing", house: "main", share: 30, outcome: "client_error", status: 404, serve: responds(404, ""), peers: true},
	{name: "error", house: "main", share: 30, outcome: "upstream_error", status: 500, serve: responds(500, ""), peers: true},
	{name: "busy", house: "main", share: 10, outcome: "upstream_error", status: 503, serve: responds(503, ""), peers: true},

	// The backend aborts its response.
	{name: "cut", house: "main", share: 15, outcome: "upstream_truncated", status: 200, broken: true, part: 400,
		serve: truncates(cutLength), peers: true},
	{name: "cutchunk", house: "main", share: 15, outcome: "upstream_truncated", status: 200, broken: true, part: 600,
		serve: truncates(cutChunked), peers: true},
	{name: "cutreset", house: "main", share: 15, outcome: "upstream_truncated", status: 200, broken: true, part: 400,
		serve: truncates(cutReset), drive: watch(part), peers: true},
	{name: "badchunk", house: "main", share: 10, outcome: "upstream_truncated", status: 200, broken: true, part: 400,
		serve: truncates(badChunk), peers: true},
	{name: "cutpost", house: "main", share: 10, method: "POST", outcome: "upstream_truncated", status: 200, broken: true, part: 400,
		serve: truncates(cutLength), peers: true},
	{name: "cutlarge", house: "main", share: 3, outcome: "upstream_truncated", status: 200, broken: true, part: large,
		serve: truncates(cutLarge), h1: true, peers: true},
	{name: "resetlarge", house: "main", share: 3, outcome: "upstream_truncated", status: 200, broken: true, part: large,
		serve: truncates(resetLarge), drive: watch(large), h1: true, peers: true},

	// The backend has no response, or none that can be read.
	{name: "reset", house: "main", share: 15, outcome: "upstream_reset", status: 502, serve: fails("upstream_reset", resetBefore), peers: true},
	{name: "close", house: "main", share: 10, outcome: "upstream_reset", status: 502, serve: fails("upstream_reset", closeBefore), peers: true},
	{name: "halfhead", house: "main", share: 10, outcome: "upstream_reset", status: 502, serve: always(ending{failure: "upstream_reset", begun: true}, halfHead), peers: true},
	{name: "resetpost", house: "main", share: 15, method: "POST", outcome: "upstream_reset", status: 502, serve: fails("upstream_reset", resetBefore), peers: true},
	{name: "once", house: "main", share: 20, outcome: "ok", status: 200, serve: first(ending{failure: "upstream_reset"}, resetBefore)},
	{name: "oncedelete", house: "main", share: 10, method: "DELETE", outcome: "ok", status: 204,
		serve: firstThen(ending{failure: "upstream_reset"}, closeBefore, 204)},
	{name: "garbage", house: "main", share: 10, outcome: "upstream_invalid", status: 502, serve: fails("upstream_invalid", garbage), peers: true},
	{name: "lengths", house: "main", share: 5, outcome: "upstream_invalid", status: 502, serve: fails("upstream_invalid", twoLengths), peers: true},
	{name: "bomb", house: "main", share: 5, outcome: "upstream_invalid", status: 502, serve: fails("upstream_invalid", bomb)},
	{name: "garbagepost", house: "main", share: 10, method: "POST", outcome: "upstream_invalid", status: 502, serve: fails("upstream_invalid", garbage), peers: true},
	{name: "garbageonce", house: "main", share: 10, outcome: "ok", status: 200, serve: first(ending{failure: "upstream_invalid"}, garbage)},

	// The client leaves.
	{name: "leave", house: "main", share: 25, outcome: "client_gone", status: 499, left: true, serve: gone(hang), drive: leaveWaiting, peers: true},
	{name: "leavepost", house: "main", share: 10, method: "POST", outcome: "client_gone", status: 499, left: true,
		serve: gone(hang), drive: leaveWaiting, peers: true},
	{name: "leaveupload", house: "main", share: 10, method: "POST", outcome: "client_gone", status: 499, left: true, body: 9000,
		unread: true, serve: gone(readPart), drive: leaveSending, peers: true},
	{name: "abort", house: "main", share: 20, outcome: "client_aborted", status: 200, broken: true, part: 400,
		serve: aborted(holdBody), drive: leaveReading, peers: true},
	{name: "abortlarge", house: "main", share: 3, outcome: "client_aborted", status: 200, broken: true, part: large,
		serve: aborted(holdLarge), drive: leaveReading, peers: true},
	{name: "endless", house: "main", share: 3, outcome: "client_aborted", status: 200, broken: true, part: -1,
		serve: aborted(endless), drive: leaveReading, peers: true},

	// Streams.
	{name: "upgrade", house: "main", share: 8, outcome: "upgraded", status: 101, serve: switches("echo"), drive: upgrade, h1: true, stream: "other", closed: "client_closed"},
	{name: "socket", house: "main", share: 8, outcome: "upgraded", status: 101, serve: switches("websocket"), drive: upgrade, h1: true, stream: "websocket", closed: "client_closed", peers: true},
	{name: "socketlost", house: "main", share: 8, outcome: "upgraded", status: 101, serve: switches("websocket"), drive: upgrade, h1: true, stream: "websocket", closed: "client_lost"},
	{name: "socketend", house: "main", share: 8, outcome: "upgraded", status: 101, serve: switches("websocket"), drive: upgrade, h1: true, stream: "websocket", closed: "backend_closed"},
	{name: "socketbroken", house: "main", share: 8, outcome: "upgraded", status: 101, serve: switches("websocket"), drive: upgrade, h1: true, stream: "websocket", closed: "backend_lost"},
	{name: "events", house: "main", share: 8, outcome: "ok", status: 200, serve: always(ending{status: 200}, events), stream: "sse", closed: "backend_closed", peers: true},
	{name: "eventsleft", house: "main", share: 8, outcome: "ok", status: 200, broken: true, part: len(event), serve: always(ending{status: 200}, heldEvents),
		drive: leaveReading, stream: "sse", closed: "client_closed"},
	{name: "eventsbroken", house: "main", share: 8, outcome: "ok", status: 200, broken: true, part: len(event), serve: always(ending{status: 200}, brokenEvents),
		drive: watch(len(event)), stream: "sse", closed: "backend_lost"},

	// Turned away.
	{name: "large", house: "main", share: 8, method: "POST", outcome: "too_large", status: 413, body: maxBody + 1},
	{name: "growing", house: "main", share: 5, method: "POST", outcome: "too_large", status: 413, body: maxBody + 1,
		unread: true, serve: fails("too_large", takeAll), drive: grow},
	{name: "mangled", house: "main", share: 5, method: "POST", outcome: "bad_request", status: 400,
		unread: true, serve: fails("bad_request", takeAll), drive: mangle, h1: true},
	{name: "connect", house: "main", share: 5, method: "CONNECT", outcome: "bad_request", status: 400, drive: connect, h1: true},
	{name: "limited", house: "main", share: 40, outcome: "rate_limited", status: 429},
	{name: "limitedpost", house: "main", share: 10, method: "POST", outcome: "rate_limited", status: 429},
	{name: "crowd", house: "main", share: 10, decide: limitedOr, serve: responds(200, "")},
	{name: "nonsense", house: "main", share: 5, refused: "bad_request", clientStatus: 400, drive: refusedFor("GET %s\r\n\r\n"), h1: true},
	{name: "future", house: "main", share: 3, refused: "unsupported", clientStatus: 505, drive: refusedFor("GET %s HTTP/3.0\r\nHost: x\r\n\r\n"), h1: true},
	{name: "hugehead", house: "main", share: 3, refused: "header_too_large", clientStatus: 431, drive: hugeHead, h1: true},
	{name: "halfrequest", house: "brief", share: 3, refused: "header_timeout", left: true, drive: refusedFor("GET %s HTTP/1.1\r\nHost: x\r\n"), h1: true},

	// Time runs out.
	{name: "hang", house: "strict", share: 10, outcome: "upstream_timeout", status: 504, serve: fails("upstream_timeout", hang)},
	{name: "hangpost", house: "strict", share: 5, method: "POST", outcome: "upstream_timeout", status: 504, serve: fails("upstream_timeout", hang)},
	{name: "hangonce", house: "patient", share: 3, outcome: "ok", status: 200, serve: first(ending{failure: "upstream_timeout"}, hang)},
	{name: "stall", house: "brief", share: 8, method: "POST", outcome: "request_timeout", status: 408, body: 5,
		unread: true, serve: fails("request_timeout", takeAll), drive: stall, h1: true},

	{name: "overdue", house: "slow", share: 4, outcome: "ok", status: 200, overdue: true, serve: overdue(responds(200, ""))},
	{name: "overdueerror", house: "slow", share: 1, outcome: "upstream_error", status: 500, overdue: true, serve: overdue(responds(500, ""))},
	{name: "overdueevents", house: "slow", share: 1, outcome: "ok", status: 200, overdue: true, serve: overdue(always(ending{status: 200}, events)),
		stream: "sse", closed: "backend_closed"},
	{name: "prompt", house: "slow", share: 2, outcome: "ok", status: 200, serve: responds(200, "")},

	// A status leads to another backend.
	{name: "busyonce", house: "patient", share: 8, outcome: "ok", status: 200, serve: first(ending{status: 503, failure: "503"}, busy)},
	{name: "busypost", house: "patient", share: 4, method: "POST", outcome: "upstream_error", status: 503, serve: responds(503, "")},
	{name: "busy", house: "patient", share: 8, outcome: "upstream_error", status: 503, serve: responds(503, "")},

	// Connections fail, or go stale.
	{name: "stale", house: "lone", share: 30, outcome: "ok", status: 200, serve: closesReused(closeBefore)},
	{name: "stalereset", house: "lone", share: 10, outcome: "ok", status: 200, serve: closesReused(resetBefore)},
	{name: "stalepost", house: "lone", share: 10, method: "POST", decide: okOrReset, serve: closesReused(closeBefore)},
	{name: "fickle", house: "fickle", share: 30, outcome: "ok", status: 200, serve: fickle},
	{name: "ficklepost", house: "fickle", share: 10, method: "POST", decide: okOrReset, serve: fickle},
	{name: "half", house: "half", share: 30, outcome: "ok", status: 200, serve: responds(200, "")},
	{name: "halfpost", house: "half", share: 10, method: "POST", outcome: "ok", status: 200, serve: responds(200, "")},
	{name: "dead", house: "dead", share: 10, outcome: "connect_failed", status: 502},
	{name: "deadpost", house: "dead", share: 5, method: "POST", outcome: "connect_failed", status: 502},
	{name: "far", house: "far", share: 5, outcome: "connect_timeout", status: 504},
	{name: "halffar", house: "halffar", share: 5, outcome: "ok", status: 200, serve: responds(200, "")},
	{name: "crash", house: "crashing", share: 90, outcome: "ok", status: 200},
	{name: "crashpost", house: "crashing", share: 30, method: "POST", decide: okOrReset},

	// What a backend has at hand when it is killed; see crash.
	{name: "dying", house: "crashing", outcome: "ok", status: 200},
	{name: "dyingpost", house: "crashing", method: "POST", decide: okOrReset},
	{name: "flow", house: "crashing", decide: wholeOrCut, part: -1, drive: watch(part)},

	// How main ends; see drain.
	{name: "held", house: "main", outcome: "ok", status: 200, serve: always(ending{status: 200}, gated)},
	{name: "late", house: "main", outcome: "draining", status: 503, h1: true},
}

func kindNamed(name string) *kind {
	return &kinds[slices.IndexFunc(kinds, func(k kind) bool { return k.name == name })]
}

// Where chance decides the outcome, the client knows it, and every other signal must agree.

// limitedOr decides for a client that sends more requests than its quota.
func limitedOr(x *exchange) (string, int) {
	if x.got.Status == 429 {
		return "rate_limited", 429
	}
	return "ok", 200
}

// okOrReset decides for a request that must not be sent twice.
func okOrReset(x *exchange) (string, int) {
	if x.got.Status == 502 {
		return "upstream_reset", 502
	}
	return "ok", 200
}

// wholeOrCut decides for a response whose backend may have been killed.
func wholeOrCut(x *exchange) (string, int) {
	if x.got.Err != nil {
		return "upstream_truncated", 200
	}
	return "ok", 200
}
