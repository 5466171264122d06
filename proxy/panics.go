package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"

	"pace/proxy/front"
	"pace/proxy/message"
)

// stage is a part of a request's walk, for the seam through which tests make each of them panic.
type stage uint8

const (
	inMiddleware stage = iota + 1
	inForwarding
	inDescribe
	inRejected
	inLimited
	inAction
	inPick
	inAttempt
	inPhase // of an attempt; if the request has a body, concurrently with the handler
	inInterim
	inDeliver
	inStream
	inStreamToBackend // concurrently with the handler
	inOverdue         // concurrently with the handler
	inRespond
	inEnd
	inRecord
	stages
)

// at calls the seam of a test, if there is one.
func (h *Handler) at(s stage) {
	if h.seam != nil {
		h.seam(s)
	}
}

// panicked makes a panic of what runs before the handler (the scrape's page, otelhttp, a propagator, the
// reader of forwarding fields) a request that ended as internal_error. The handler itself lets only
// http.ErrAbortHandler through, when its record is closed. The record opened here believes nothing that the
// client wrote, for reading that may be what failed.
func (h *Handler) panicked(w http.ResponseWriter, r *http.Request, p any, stack string) {
	peer := front.ConnOf(r.Context()).Peer
	q := h.open(h.plan.Load(), w, r.WithContext(h.Telemetry.Identify(r.Context())), message.Forwarding{Client: peer.Addr})
	defer q.leave()
	defer q.end()
	q.failed(p, stack)
}

// failed responds to a bug of ours.
func (q *request) failed(p any, stack string) {
	if rec := q.rec; rec.RequestID == "" { // describe did not come to its end
		rec.Path, _, _ = strings.Cut(message.Escape(q.r.RequestURI), "?")
		rec.Protocol, rec.Client, rec.RequestID = message.Version(q.r.ProtoMajor, q.r.ProtoMinor), q.conn.Peer.Text, message.RequestID(q.r.Header, false)
	}
	q.h.logPanic(q.r.Context(), p, stack, slog.String("trace_id", q.rec.TraceID()))
	attemptBroken(q.rec)
	if q.client.begun {
		q.client.broken = true
		brokenByBug(q.rec)
		return
	}
	h := q.client.Header()
	clear(h)
	if q.r.ProtoMajor == 1 && q.body == nil && q.r.ContentLength != 0 { // nobody takes care of the request's body
		h["Connection"] = []string{"close"}
	}
	q.respondOwn(causeBug)
}

// failedTwice is for a panic while the request was ended, perhaps in responding to the first one: it
// responds with a status alone, if none has been sent.
func (q *request) failedTwice(p any) {
	defer func() {
		if recover() != nil {
			q.client.broken = true
		}
	}()
	defer q.resp.Close()
	q.h.logPanic(q.r.Context(), p, string(debug.Stack()), slog.String("trace_id", q.rec.TraceID()))
	if q.client.begun {
		q.client.broken = true
		brokenByBug(q.rec)
		return
	}
	o := causes[causeBug]
	status := o.Info().Status
	q.rec.Status = status
	ends(q.rec, o)
	h := q.client.Header()
	clear(h)
	h["Content-Length"] = []string{"0"}
	if q.r.ProtoMajor == 1 {
		h["Connection"] = []string{"close"}
	}
	q.client.begin(status)
}

// logPanic logs a panic. Its lines are capped: a stack has some 4 KiB, and whoever found the bug can
// provoke it as often as they like.
func (h *Handler) logPanic(ctx context.Context, p any, stack string, attrs ...slog.Attr) {
	if !h.panics.Pass() {
		return
	}
	h.Log.LogAttrs(ctx, slog.LevelError, "bug of pace: it panicked while it handled a request",
		append([]slog.Attr{slog.Any("panic", p)}, append(attrs, slog.String("stack", stack))...)...)
}
