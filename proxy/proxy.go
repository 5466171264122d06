// Package proxy is the data path: the walk of a request from the listener to a backend and back.
// [Handler.ServeHTTP] reads as its table of contents. It writes what happens into the request's
// [telemetry.Record]; it must not know the configuration's format, nor OpenTelemetry.
package proxy

import (
	"log/slog"
	"sync/atomic"

	"pace/proxy/front"
	"pace/telemetry"
)

// Options configure a Handler; Telemetry, Log, InFlight and Pool must be set.
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

	loops, panics telemetry.Capped // lines in the log about each
}

// NewHandler returns a Handler; it connects when the first request comes.
func NewHandler(o Options) *Handler {
	h := &Handler{Telemetry: o.Telemetry, Log: o.Log, InFlight: o.InFlight, seam: o.seam}
	h.plan.Store(NewPlan(o.PlanOptions, o.Telemetry.PropagationFields()))
	return h
}

// Close closes the idle connections to the backends.
func (h *Handler) Close() { h.plan.Load().Close() }
