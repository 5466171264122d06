package proxy

import (
	"pace/proxy/action"
)

// act has the route's action choose what becomes of the request: an upstream is asked next, or pace responds, as
// the configuration says. It reports whether it responded.
func (q *request) act() bool {
	q.h.at(inAction)
	choice := q.route.Action.Choose(action.Request{Target: q.out.Target, Client: q.asked.Client, Header: q.r.Header})
	if choice.Response != nil {
		q.respondAs(choice.Response)
		return true
	}
	q.upstream = choice.Upstream
	if q.body != nil && q.mayBeStream() && q.upstream.SpeaksHTTP2() {
		q.body.MayBeSilent() // the client may have nothing to say for hours, until its server sends something
	}
	return false
}

// respondAs sends the response that the configuration says.
func (q *request) respondAs(r *action.Response) {
	own := ownResponse{causes[causeRespond], r.Status, plainText, r.Body}
	if r.Location != "" {
		own = q.redirection(r.Location, r.Status)
	}
	q.route.responses.Apply(q.client.Header())
	q.sendOwn(own)
}

// redirection is the response that sends the client to another URL.
func (q *request) redirection(to string, status int) ownResponse {
	q.client.Header()["Location"] = []string{to}
	o := causes[causeRedirect]
	return ownResponse{o, status, plainText, o.Info().Sentence + "\n"}
}
