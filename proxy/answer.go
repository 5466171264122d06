package proxy

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pace/telemetry"
)

// answer gives pace's own answer for the outcome: its word and the trace's id.
func (q *request) answer(o telemetry.Outcome) {
	q.respond(o, o.String()+" "+q.rec.TraceID()+"\n")
}

// answerLimited answers a limiter's no. Its plain text and fields are the older proxy's.
func (q *request) answerLimited(limit int, seconds int64) {
	h := q.w.Header()
	h["X-Rate-Limit-Limit"] = []string{strconv.Itoa(limit)}
	h["X-Rate-Limit-Remaining"] = []string{"0"}
	h["X-Rate-Limit-Reset"] = []string{strconv.FormatInt(seconds, 10)}
	h["Retry-After"] = h["X-Rate-Limit-Reset"]
	q.respond(telemetry.RateLimited, "Too Many Requests")
}

func (q *request) respond(o telemetry.Outcome, plain string) {
	info, h := o.Info(), q.w.Header()
	q.rec.Outcome, q.rec.Status = o, info.Status
	body, kind := plain, "text/plain; charset=utf-8"
	if prefersJSON(q.r.Header["Accept"]) {
		kind = "application/json"
		body = fmt.Sprintf(`{"status":%d,"outcome":%q,"trace_id":%q}`+"\n", info.Status, o.String(), q.rec.TraceID())
	}
	h["Content-Type"] = []string{kind}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	h["Cache-Control"] = []string{"no-store"}
	if info.ProxyStatus != "" {
		h["Proxy-Status"] = []string{"pace; error=" + info.ProxyStatus}
	}
	h["Via"] = []string{"1.1 pace"}
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
	h[requestIDField] = []string{q.rec.RequestID}
	if q.h.TraceName != "" {
		h[q.h.TraceName] = []string{q.rec.TraceID()}
	}
}

// wholeSeconds rounds up, to at least one.
func wholeSeconds(d time.Duration) int64 {
	return max(1, int64(math.Ceil(d.Seconds())))
}

// prefersJSON says whether the Accept field ranks JSON above plain text (RFC 9110 §12.5.1).
func prefersJSON(accept []string) bool {
	var json, plain quality
	for _, field := range accept {
		for item := range strings.SplitSeq(field, ",") {
			media, parameters, _ := strings.Cut(item, ";")
			q := weight(parameters)
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "application/json":
				json.set(3, q)
			case "text/plain":
				plain.set(3, q)
			case "application/*":
				json.set(2, q)
			case "text/*":
				plain.set(2, q)
			case "*/*":
				json.set(1, q)
				plain.set(1, q)
			}
		}
	}
	return json.value > plain.value
}

// quality is the weight that the most specific media range gives.
type quality struct {
	specific int // 0: no range matched
	value    float64
}

func (q *quality) set(specific int, value float64) {
	if specific >= q.specific {
		q.specific, q.value = specific, value
	}
}

// weight reads the parameter q, 1 if there is none, 0 if it is none of 0 to 1.
func weight(parameters string) float64 {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			if err != nil || !(q >= 0 && q <= 1) {
				return 0
			}
			return q
		}
	}
	return 1
}
