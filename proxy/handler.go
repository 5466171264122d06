// Package proxy is the data path: the walk of a request from the listener to a backend and back.
// [Handler.serve] reads as its table of contents, and its steps stand in files of their own, in order of
// time: request.go, reject.go, limit.go, act.go, attempt.go, further.go, interim.go, respond.go, deliver.go, stream.go, end.go.
// Each step writes what happens into the request's [telemetry.Record]; outcome.go alone decides how an
// exchange ended. The package must not know the configuration's format, nor OpenTelemetry.
package proxy

import (
	"log/slog"
	"net/http"
	"sync/atomic"

	"pace/proxy/body"
	"pace/proxy/front"
	"pace/telemetry"
)

// ServeHTTP serves a request under the plan in force, to its end.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.at(inMiddleware)
	h.plan.Load().entry.ServeHTTP(w, r)
}

// serve walks one request through pace. What reads the request runs after the record was opened
// and its end deferred, so that a panic in it is a request that ended as internal_error. Only who asked
// is read before, because the record needs the scheme; of that panic, guard makes such a request.
func (h *Handler) serve(plan *Plan, w http.ResponseWriter, r *http.Request) {
	q := h.open(plan, w, r, h.whoAsked(plan, r))
	defer q.leave()
	defer q.end()
	q.describe()
	if q.reject() || q.limit() || q.respondIfLastHop() || q.act() || q.rejectIfBodyFails() {
		return
	}
	if q.ask() {
		q.respond()
	}
}

// Options configure a Handler; Telemetry, Log and InFlight must be set.
type Options struct {
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger
	InFlight  *front.InFlight

	PlanOptions // of the first Plan

	seam func(stage) // of tests: called as each stage begins; nil: none
}

// Handler proxies requests. Safe for concurrent use.
type Handler struct {
	Telemetry *telemetry.Telemetry
	Log       *slog.Logger
	InFlight  *front.InFlight
	seam      func(stage)

	plan atomic.Pointer[Plan]

	room          *body.Room       // for bodies of requests that are kept to be sent again
	loops, panics telemetry.Capped // lines in the log about each
}

// maxKeptBodies is the memory for bodies of requests that are kept to be sent again.
const maxKeptBodies = 64 << 20

// NewHandler returns a Handler; it connects when the first request comes.
func NewHandler(o Options) *Handler {
	h := &Handler{Telemetry: o.Telemetry, Log: o.Log, InFlight: o.InFlight, seam: o.seam, room: body.NewRoom(maxKeptBodies)}
	h.Swap(o.PlanOptions)
	return h
}

// Swap makes o the plan of every request that begins from now on. Those that have begun keep theirs to their
// end. What only an older plan has, the caller closes after the swap: an [upstream.Upstream] that is closed
// still serves them.
func (h *Handler) Swap(o PlanOptions) {
	p := h.newPlan(o)
	h.Telemetry.Configure(p.observed(), o.Upstreams)
	h.plan.Store(p)
}
