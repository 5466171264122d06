// Package transport is what all transports share. A transport carries one attempt: it sends one request to
// one backend and reads the response. The package holds the words for that: the [Request] to send, the
// [Response] and its [Field] lines, the [Phase] that an attempt is in, and the [Error] that ends it.
//
// A transport promises that one call puts at most one request on the wire, and that its error says what
// kind of failure it was, whose side caused it, in which phase, and how many bytes of the request had been
// sent. The proxy decides from these values, and never from an error's text, what the outcome is and
// whether the request may be sent again.
//
// This package must not know how a request is written on the wire, nor any socket, nor any other package
// of pace. Each transport is a package of its own; there are http1 and http2.
package transport
