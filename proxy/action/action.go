// Package action is what a route does with the requests that it takes: it names the upstream that is asked, or
// pace's own response. Each action is a file: [To], [Split], [Redirect], [Respond].
//
// An action is made once and only read, so it is safe for concurrent use. [To] allocates nothing.
//
// The package must not know the client's connection, records or outcomes: an action returns its choice.
package action

import (
	"net/http"
	"net/netip"

	"pace/proxy/upstream"
)

// Action is what a route does with a request.
type Action interface {
	Choose(Request) Choice
}

// Request is what an action may decide by.
type Request struct {
	Target string // in origin form, as the client sent it
	Client netip.Addr
	Header http.Header
}

// Choice is what becomes of a request. Exactly one field is set.
type Choice struct {
	Upstream *upstream.Upstream // is asked
	Response *Response          // is sent by pace itself
}

// Response is a response of pace itself that the configuration says.
type Response struct {
	Status   int
	Location string // "": it is no redirect
	Body     string // in plain text; "": none
}
