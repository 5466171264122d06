package proxy

import (
	"errors"
	"net/http"
	"strings"

	"pace/lb"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// ask sends the request to a backend, and to another one where that is safe and allowed, until there is a
// response to deliver. If there is none, it responds in the backends' place and returns false.
func (q *request) ask() bool {
	up := q.upstream
	q.rec.Upstream = up.Name
	now := q.rec.Enter(telemetry.Pick)
	q.h.at(inPick)
	next := up.First(&upstream.Request{
		Client: q.asked.Client, Header: q.r.Header, Path: q.rec.Path, Pin: pinOf(q.conn),
		Repeatable: q.body == nil && upstream.Idempotent(q.r.Method), Now: now,
	})
	q.rec.Enter(telemetry.Own)
	if next.Backend == nil {
		q.respondOwn(noBackend(next))
		return false
	}
	q.step = next
	up.Begin(now)
	q.startTimeout()
	q.prepare()
	var tried []*lb.Backend
	for {
		f := q.attempt()
		if f == nil {
			return true
		}
		tried = append(tried, next.Backend.Backend)
		if next, f = q.next(f, tried); next.Backend == nil {
			return q.settle(f)
		}
		q.step = next
	}
}

// noBackend returns why there is no backend for a request.
func noBackend(s upstream.Step) cause {
	if s.Full {
		return causeOverload
	}
	return causeNoBackend
}

// prepare makes the request ready for its attempts. Its fields are rendered once; each attempt adds those that
// name it as the parent of what the backend does.
func (q *request) prepare() {
	out, r := &q.out, q.r
	out.Method, out.Target = r.Method, q.route.Prefixes.Rewrite(out.Target)
	if q.route.Prefixes != (message.Prefixes{}) {
		q.rec.SentPath, _, _ = strings.Cut(out.Target, "?")
	}
	out.ResponseTimeout = q.route.ResponseTimeout
	q.rec.Repeatable = upstream.Idempotent(r.Method)
	out.Upgrade, out.TrailersOK = message.Upgrade(r.ProtoMajor, r.ProtoMinor, r.Header), message.Lists(r.Header["Te"], "trailers")
	if q.body != nil {
		q.body.AllowEarlyResponse()
		q.body.Keep(q.upstream.MaxKept(q.rec.Repeatable), q.h.room)
		out.Body, out.BodyReady, out.ContentLength, out.StopBody = q.body, q.body.Ready, r.ContentLength, q.body.Stop
		out.Expect = q.body.Expects()
		connection, filter, rules := r.Header["Connection"], q.plan.filter, q.route.requests
		out.AnnouncedTrailer = message.Announcement(filter.Trailer(r.Trailer, connection, rules)) // until the body has ended: its names
		out.Trailer = func() http.Header { return filter.Trailer(r.Trailer, connection, rules) }
	}
	out.Repeatable = q.body == nil && q.rec.Repeatable && q.upstream.RepeatsReset()
	out.Login, out.Pin, out.Client = message.BindsConnection(r.Header["Authorization"]), pinOf(q.conn), q.asked.Client
	cert := q.conn.ClientCert()
	if cert != nil {
		message.DropClientCert(r.Header)
	}
	b := q.plan.filter.Append(q.fields[:0], r.Method, r.Header, q.trusted(), q.route.requests)
	if cert != nil {
		b = append(b, cert.Lines...)
	}
	b = q.route.requests.AppendFields(b)
	b = q.asked.AppendFields(b, &q.conn.Peer)
	b = message.AppendField(b, "Via", message.Via(r.Header["Via"], q.rec.Protocol))
	b = message.AppendField(b, message.RequestIDField, q.rec.RequestID)
	q.fields = append(b, q.plan.proxyLine...)
	q.beginCopy()
}

// takeBack keeps what an attempt has read of the request's body, and gives back.
func (q *request) takeBack(read []byte) { q.body.TakeBack(read, q.h.room) }

// attempt makes the attempt that q.step says; unless it fails, the response's header is in q.resp. If
// it does, the request is not in flight at a backend any more.
func (q *request) attempt() *failure {
	b := q.step.Backend
	a := q.rec.BeginAttempt(b.Addr, b.Host, b.Port)
	a.PickReason, a.Secure = q.step.Reason, b.IsSecure()
	q.h.at(inAttempt)
	q.out.Fields = q.h.Telemetry.AppendPropagation(q.r.Context(), q.fields, q.rec, a)
	q.fields = q.out.Fields[:len(q.fields)] // with the room that it has grown
	q.out.NewConnection, q.out.Host = q.step.Fresh || q.step.Trial, q.route.host(q.r.Host, b.Authority)
	err := q.send()
	at := q.rec.Enter(telemetry.Own)
	if err == nil {
		a.Responded = at
		noteResponse(a, &q.resp)
		if q.resp.Status < 500 {
			q.upstream.Responded(&q.step, at)
		}
		q.backend, q.delivering = q.step.Backend, len(q.rec.Attempts)-1
		return q.unwanted()
	}
	f := q.attemptFailed(a, transportError(err))
	a.Protocol, a.Reused, a.Remote, a.BytesSent = f.Version, f.Reused, f.Remote, f.BytesSent
	q.rec.EndAttempt()
	q.resp.Close()
	q.leaveBackend(f.result())
	return f
}

// send sends the request to the backend of q.step, or to an address of it, if that is a name.
func (q *request) send() error {
	b, err := q.step.Backend.Resolve(q.ctx, q.out.OnPhase)
	if err != nil {
		return err
	}
	q.step.Backend = b
	return b.Do(q.ctx, &q.out, &q.resp)
}

// attemptFailed notes why an attempt failed.
func (q *request) attemptFailed(a *telemetry.Attempt, e *transport.Error) *failure {
	f := q.failedBy(e)
	a.Failure = f.outcome
	if !f.clientLeft() {
		a.Error = e.Words()
	}
	return f
}

// transportError returns the error of a transport, which has no other type.
func transportError(err error) *transport.Error {
	e, ok := errors.AsType[*transport.Error](err)
	if !ok {
		panic("pace: BUG: " + err.Error())
	}
	return e
}

// noteResponse notes what an attempt knows once its response has begun.
func noteResponse(a *telemetry.Attempt, r *transport.Response) {
	a.Protocol, a.Status, a.Reused, a.Remote, a.BytesSent = r.Version, r.Status, r.Reused, r.Remote, r.BytesSent
}

// giveUp responds for a backend that did not, with the last attempt's outcome.
func (q *request) giveUp(f *failure) {
	if f.clientLeft() {
		f.leftUnanswered(q.rec)
		q.client.broken = true
		return
	}
	q.proxyError = exactError(f.Kind)
	q.respondFor(f.outcome)
}
