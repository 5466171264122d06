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
	return false
}

// respondAs sends the response that the configuration says.
func (q *request) respondAs(r *action.Response) {
	h, o, body := q.client.Header(), causes[causeRespond], r.Body
	if r.Location != "" {
		o = causes[causeRedirect]
		h["Location"], body = []string{r.Location}, o.Info().Sentence+"\n"
	}
	q.route.responses.Apply(h)
	q.sendOwn(ownResponse{outcome: o, status: r.Status, kind: "text/plain; charset=utf-8", body: body})
}
