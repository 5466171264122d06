package proxy

import (
	"cmp"
	"math"
	"net/http"
	"strconv"
	"time"

	"pace/proxy/message"
	"pace/telemetry"
)

// answer gives pace's own response for the outcome.
func (q *request) answer(o telemetry.Outcome) {
	body, kind := responseBody(o.Info(), q.rec.TraceID(), message.Preferred(q.r.Header["Accept"]))
	q.respond(o, body, kind)
}

// answerLimited answers a limiter's no. Its plain text and fields are the older proxy's, to the byte.
func (q *request) answerLimited(limit int, seconds int64) {
	h := q.w.Header()
	h["X-Rate-Limit-Limit"] = []string{strconv.Itoa(limit)}
	h["X-Rate-Limit-Remaining"] = []string{"0"}
	h["X-Rate-Limit-Reset"] = []string{strconv.FormatInt(seconds, 10)}
	h["Retry-After"] = h["X-Rate-Limit-Reset"]
	f := message.Preferred(q.r.Header["Accept"])
	body, kind := responseBody(telemetry.RateLimited.Info(), q.rec.TraceID(), f)
	if f == message.PlainText {
		body = "Too Many Requests"
	}
	q.respond(telemetry.RateLimited, body, kind)
}

func (q *request) respond(o telemetry.Outcome, body, kind string) {
	q.h.at(inRespond)
	info, h := o.Info(), q.w.Header()
	q.rec.Outcome, q.rec.Status = o, info.Status
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = []string{"no-store"}
	if e := cmp.Or(q.proxyError, info.ProxyStatus); e != "" {
		h["Proxy-Status"] = []string{proxyStatus(e, o)}
	}
	h["Via"] = []string{"1.1 pace"}
	if q.body != nil && h["Connection"] == nil {
		q.body.finish()
	}
	q.closeUnfinished(h)
	q.identify(h)
	q.answered = true
	q.w.WriteHeader(info.Status)
	if q.r.Method == http.MethodHead {
		return
	}
	q.rec.Enter(telemetry.Deliver)
	n, _ := q.w.Write([]byte(body)) // the outcome stands: the client got this answer or left after it
	q.rec.BytesOut = int64(n)
	q.rec.Enter(telemetry.Own)
}

// closeUnfinished announces that the connection ends with the answer, because of what the client
// still has to send. Over HTTP/2 it need not end.
func (q *request) closeUnfinished(h http.Header) {
	if q.body != nil && q.body.http1 && q.body.unfinished() {
		h["Connection"] = []string{"close"}
	}
}

// identify tells the client by which names its request is known.
func (q *request) identify(h http.Header) {
	h[message.RequestIDField] = []string{q.rec.RequestID}
	if q.plan.TraceName != "" {
		h[q.plan.TraceName] = []string{q.rec.TraceID()}
	}
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64(math.Ceil(d.Seconds())))
}
