package proxy

import (
	"cmp"
	"fmt"
	"html"
	"net/http"
	"strconv"
	"strings"

	"pace/proxy/message"
	"pace/telemetry"
)

// respondOwn gives pace's own response, because of why.
func (q *request) respondOwn(why cause) { q.respondFor(causes[why]) }

// respondFor gives pace's own response for the outcome.
func (q *request) respondFor(o telemetry.Outcome) {
	q.sendOwn(q.own(o, message.Preferred(q.r.Header["Accept"])))
}

// plainText is the media type of pace's own text.
const plainText = "text/plain; charset=utf-8"

// ownResponse is a response of pace itself.
type ownResponse struct {
	outcome telemetry.Outcome
	status  int
	kind    string // the body's media type
	body    string
}

// own returns pace's own response for the outcome. It says what becomes of the trace, so the outcome is written
// down and the trace decided on before.
func (q *request) own(o telemetry.Outcome, f message.Form) ownResponse {
	ends(q.rec, o)
	body, kind := responseBody(o.Info(), q.rec.TraceID(), q.h.Telemetry.Decide(q.rec), f)
	q.client.Header()["Cache-Control"] = []string{"no-store"}
	return ownResponse{o, o.Info().Status, kind, body}
}

// sendOwn sends pace's own response.
func (q *request) sendOwn(r ownResponse) {
	q.h.at(inRespond)
	q.timeout.stop() // or it would abort this response, too
	h := q.client.Header()
	if q.rec.GRPC {
		r = q.asCall(r, h)
	}
	q.rec.Status = r.status
	ends(q.rec, r.outcome)
	if r.hasBody() {
		if h["Content-Type"] == nil && r.body != "" {
			h["Content-Type"] = []string{r.kind}
		}
		h["Content-Length"] = []string{strconv.Itoa(len(r.body))}
	}
	if e := cmp.Or(q.proxyError, r.outcome.Info().ProxyStatus); e != "" {
		h["Proxy-Status"] = []string{proxyStatus(e, r.outcome)}
	}
	h["Via"] = []string{"1.1 pace"}
	if q.body != nil && h["Connection"] == nil {
		q.body.Finish()
	}
	q.body.AnnounceClose(h)
	q.plan.identify(h, q.rec)
	q.conn.Advertise(h)
	q.client.begin(r.status)
	if q.r.Method == http.MethodHead || r.body == "" || !r.hasBody() {
		return
	}
	q.rec.Enter(telemetry.Deliver)
	q.client.Write([]byte(r.body)) // the outcome stands: the client got this response or left after it
	q.rec.Enter(telemetry.Own)
}

// hasBody reports whether a response with this status has a body, which may be empty.
func (r ownResponse) hasBody() bool {
	return r.status != http.StatusNoContent && r.status != http.StatusNotModified
}

// identify tells the client by which names its request is known.
func (p *Plan) identify(h http.Header, rec *telemetry.Record) {
	h[message.RequestIDField] = []string{rec.RequestID}
	if p.TraceName != "" {
		h[p.TraceName] = []string{rec.TraceID()}
	}
}

// responseBody is the body of pace's own response, and its media type. It says the same in each form:
// a sentence, the outcome's word and the trace's id. It never names an address, nor an error's text.
func responseBody(o *telemetry.OutcomeInfo, traceID string, e telemetry.Export, f message.Form) (body, kind string) {
	switch f {
	case message.HTML:
		return errorPage(o, traceID), "text/html; charset=utf-8"
	case message.JSON:
		return fmt.Sprintf(`{"status":%d,"outcome":%q,"trace_id":%q,"trace":%q}`+"\n", o.Status, o.Word, traceID, e), "application/json"
	}
	return o.Sentence + "\nOutcome: " + o.Word + "\nTrace: " + traceID + "\n", plainText
}

// errorPage is an HTML page that loads nothing.
func errorPage(o *telemetry.OutcomeInfo, traceID string) string {
	return strings.NewReplacer(
		"{title}", html.EscapeString(fmt.Sprintf("%d %s", o.Status, http.StatusText(o.Status))),
		"{sentence}", html.EscapeString(o.Sentence),
		"{outcome}", html.EscapeString(o.Word),
		"{trace}", html.EscapeString(traceID),
	).Replace(errorPageText)
}

const errorPageText = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 40em; margin: 10vh auto; padding: 0 1em }
dt { font-weight: bold }
dd { margin: 0 0 .5em; font-family: ui-monospace, monospace; overflow-wrap: anywhere }
</style>
</head>
<body>
<h1>{title}</h1>
<p>{sentence}</p>
<dl>
<dt>Outcome</dt><dd>{outcome}</dd>
<dt>Trace</dt><dd>{trace}</dd>
</dl>
</body>
</html>
`

// proxyStatus is the value of the Proxy-Status field (RFC 9209). Its details are the outcome's word,
// in which nothing needs an escape.
func proxyStatus(errorType string, o telemetry.Outcome) string {
	return "pace; error=" + errorType + `; details="` + o.String() + `"`
}
