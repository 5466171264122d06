package proxy

import (
	"math"
	"strconv"
	"time"

	"pace/limiter"
	"pace/proxy/message"
	"pace/telemetry"
)

// Limit is a limiter with the name that it has in the configuration.
type Limit struct {
	Policy string
	Key    string // one of KeyKinds; "": the first
	Window *limiter.Window
	Per    time.Duration
}

// limit asks the limiter, and responds if it denies the request.
func (q *request) limit() bool {
	q.h.at(inLimited)
	l := q.plan.Limit
	if l == nil {
		return false
	}
	now := q.rec.Enter(telemetry.Limit)
	d := l.Window.Allow(q.plan.limitKey.key(q), now)
	if !d.Denied {
		return false
	}
	q.rec.Enter(telemetry.Own)
	q.rec.Limited = append(q.rec.Limited, telemetry.Limited{
		At: now, Policy: l.Policy, KeyKind: q.plan.limitKey.word,
		Limit: d.Limit, Window: l.Per, RetryAfter: d.Reset,
	})
	q.respondLimited(d.Limit, wholeSeconds(d.Reset))
	return true
}

// respondLimited tells the client when to come back. Its plain text and fields are the older proxy's, to the
// byte.
func (q *request) respondLimited(limit int, seconds int64) {
	h := q.client.Header()
	h["X-Rate-Limit-Limit"] = []string{strconv.Itoa(limit)}
	h["X-Rate-Limit-Remaining"] = []string{"0"}
	h["X-Rate-Limit-Reset"] = []string{strconv.FormatInt(seconds, 10)}
	h["Retry-After"] = h["X-Rate-Limit-Reset"]
	o, form := causes[causeQuota], message.Preferred(q.r.Header["Accept"])
	body, kind := q.ownBody(o, form)
	if form == message.PlainText {
		body = "Too Many Requests"
	}
	q.sendOwn(o, body, kind)
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64(math.Ceil(d.Seconds())))
}
