package proxy

import (
	"net/http"

	"pace/proxy/front"
)

// Trusts are the words for whose traceparent is continued.
var Trusts = []string{trustAll, trustTrusted, trustNone}

const (
	trustAll     = "all"
	trustTrusted = "trusted"
	trustNone    = "none"
)

// public returns which requests' traces are not continued but linked to; nil: all are continued.
func public(word string) func(*http.Request) bool {
	switch word {
	case trustTrusted:
		return func(r *http.Request) bool { return !front.ConnOf(r.Context()).Peer.Trusted }
	case trustNone:
		return func(*http.Request) bool { return true }
	}
	return nil
}
