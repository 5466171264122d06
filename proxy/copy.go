package proxy

import (
	"cmp"
	"context"
	"errors"
	"io"
	"runtime/debug"
	"slices"
	"time"

	"pace/proxy/mirror"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

const (
	copyTimeout       = time.Minute // of the attempt of a copy, its response included
	droppedOfResponse = 1 << 20     // bytes that are read of it, so that the connection can be used again
)

// beginCopy begins the copy of a request whose fields are rendered, if the route has a mirror. A request without
// a body is sent to the mirror at once, one with a body when that is whole. What is not a message by itself, an
// upgrade or a login for a connection, is not copied.
func (q *request) beginCopy() {
	m := q.route.Mirror
	if m == nil || q.out.Upgrade != "" || q.out.Login {
		return
	}
	length := int64(0)
	if q.body != nil {
		length = q.r.ContentLength
	}
	c, lack := m.Copy(length)
	switch lack {
	case mirror.Slots:
		q.h.Telemetry.LostCopies().Add(telemetry.Busy, 1)
	case mirror.BodyTooLarge:
		q.h.Telemetry.LostCopies().Add(telemetry.BodyTooLarge, 1)
	}
	if c == nil {
		return
	}
	c.Request.Method, c.Request.Target, c.Request.Fields = q.out.Method, q.out.Target, slices.Clone(q.fields)
	c.Request.TrailersOK = q.out.TrailersOK
	q.copy = c
	if q.body == nil {
		q.sendCopy()
	} else {
		q.out.Body = c.Keep(q.body)
	}
}

// endCopy sends the copy of a request with a body, if the body has come whole. Nobody reads it any more.
func (q *request) endCopy() {
	if q.copy == nil {
		return
	}
	ready, tooLarge := q.copy.Ready()
	if ready {
		q.sendCopy()
		return
	}
	if tooLarge {
		q.h.Telemetry.LostCopies().Add(telemetry.BodyTooLarge, 1)
	}
	q.dropCopy()
}

func (q *request) dropCopy() {
	if q.copy != nil {
		q.copy.Close()
		q.copy = nil
	}
}

// sendCopy sends the copy, on a goroutine of its own that nobody waits for.
func (q *request) sendCopy() {
	c := q.copy
	q.copy = nil
	rec := q.h.Telemetry.BeginMirror(q.rec, q.route.Mirror.Upstream.Name)
	go q.h.attemptCopy(c, rec, q.route, q.r.Host)
}

// attemptCopy makes one attempt at a backend of the mirror, and drops its response.
func (h *Handler) attemptCopy(c *mirror.Copy, rec *telemetry.Record, route *plannedRoute, host string) {
	defer c.Close()
	defer h.Telemetry.EndMirror(rec)
	defer func() {
		if p := recover(); p != nil {
			h.logPanic(context.Background(), p, string(debug.Stack()))
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), copyTimeout)
	defer cancel()
	step := route.Mirror.Upstream.First(&upstream.Request{Path: rec.Path, Now: time.Now()})
	b := step.Backend
	if b == nil {
		if step.Full {
			h.Telemetry.LostCopies().Add(telemetry.Busy, 1)
		}
		return
	}
	a := rec.BeginAttempt(b.Addr, b.Host, b.Port)
	a.PickReason, a.Secure = step.Reason, b.IsSecure()
	said := upstream.Result{} // unless a bug ends it
	defer func() {
		rec.EndAttempt()
		step.Backend.End()
		noteEjected(rec, step, a.End, route.Mirror.Upstream.Ended(step, a.End, said))
	}()
	c.Request.Fields = h.Telemetry.AppendPropagation(ctx, c.Request.Fields, rec, a)
	c.Request.Host = route.host(host, b.Authority)
	c.Request.NewConnection = step.Trial
	var resp transport.Response
	defer resp.Close()
	at, err := b.Resolve(ctx, nil)
	if err == nil {
		step.Backend = at
		err = at.Do(ctx, &c.Request, &resp)
	}
	if err == nil {
		noteResponse(a, &resp)
		var whole bool
		if whole, err = drop(&resp); whole && rec.GRPC {
			noteCode(a, &resp)
		}
	}
	said = resultOfCopy(ofStatus(resp.Status), a)
	if e, ok := errors.AsType[*transport.Error](err); ok {
		a.Failure, a.Error = failedCopy(e), e.Words()
		a.Protocol = cmp.Or(e.Version, a.Protocol)
		a.Reused, a.Remote, a.BytesSent = e.Reused, e.Remote, e.BytesSent
		said = resultOfCopy(a.Failure, a)
	}
}

// drop reads a response to its end, unless that is far away. It reports whether it came there.
func drop(r *transport.Response) (whole bool, err error) {
	for n := 0; n < droppedOfResponse; {
		piece, err := r.Next()
		if err != nil {
			if err == io.EOF {
				return true, nil
			}
			return false, err
		}
		n += len(piece)
	}
	return false, nil
}
