package proxy

import (
	"math"
	"slices"
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

// limit asks the route's limits, all of which must let the request pass, and responds if one denies it.
func (q *request) limit() bool {
	q.h.at(inLimited)
	if q.route.quota == nil {
		return false
	}
	now := q.rec.Enter(telemetry.Limit)
	d, i := q.route.quota.Allow(q.route.key.key(q), now)
	l := q.route.Limits[i]
	if !d.Denied {
		q.rec.Passed = append(q.rec.Passed, telemetry.Passed{Policy: l.Policy, Used: d.Limit - d.Remaining, Limit: d.Limit})
		return false
	}
	q.rec.Enter(telemetry.Own)
	q.rec.Limited = append(q.rec.Limited, telemetry.Limited{
		At: now, Policy: l.Policy, KeyKind: q.route.key.word,
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
	r := q.own(o, form)
	if form == message.PlainText {
		r.body = "Too Many Requests"
	}
	q.sendOwn(r)
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64(math.Ceil(d.Seconds())))
}

// keyKind is what tells the clients of a limit apart: its word in the configuration and in telemetry, and how
// the key of a request is made.
type keyKind struct {
	word string
	key  func(*request) limiter.Key // the zero Key: the limit does not apply to the request
}

// keyKinds has every kind of key. The first one is the default.
var keyKinds = []keyKind{
	{"client_ip", func(q *request) limiter.Key { return limiter.ClientIP(q.asked.Client) }},
}

// KeyKinds returns the words of all kinds of keys.
func KeyKinds() (words []string) {
	for _, k := range keyKinds {
		words = append(words, k.word)
	}
	return words
}

// keyKindOf returns the kind that has this word; "" is the default.
func keyKindOf(word string) *keyKind {
	if word == "" {
		return &keyKinds[0]
	}
	i := slices.IndexFunc(keyKinds, func(k keyKind) bool { return k.word == word })
	if i < 0 {
		panic("pace: BUG: no kind of limit key is called " + word)
	}
	return &keyKinds[i]
}
