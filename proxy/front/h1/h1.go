// Package h1 reads along what goes over a client's HTTP/1 connection, which net/http serves, for what net/http
// does not tell a handler. It sees bytes and nothing else: it must not know the connection that they come on,
// nor what becomes of a request.
package h1

import (
	"bytes"

	"pace/telemetry"
)

var statusLine = []byte("HTTP/1.1 ")

// Refusal reads from the status line that net/http itself wrote why it refused a request.
func Refusal(b []byte) (telemetry.Refusal, bool) {
	status, ok := bytes.CutPrefix(b, statusLine)
	if !ok || len(status) < 3 {
		return 0, false
	}
	switch string(status[:3]) {
	case "400":
		return telemetry.RefusedBadRequest, true
	case "431":
		return telemetry.RefusedHeaderTooLarge, true
	case "417", "501", "505":
		return telemetry.RefusedUnsupported, true
	}
	return 0, false
}
