package message

import (
	"net/http"
	"strings"
)

// Upgrade returns the protocol that a request of this HTTP version asks to switch to, "" for none.
// Cleartext HTTP/2 is none: both sides of pace choose their own HTTP version.
func Upgrade(major, minor int, h http.Header) string {
	if major != 1 || minor == 0 || !Lists(h["Connection"], "upgrade") {
		return ""
	}
	list := h["Upgrade"]
	if Lists(list, "h2c") {
		return ""
	}
	return strings.Join(list, ", ")
}

// ExpectsContinue reports whether the client waits for 100 before it sends the body. HTTP/1.0 knows no 100
// (RFC 9110 §10.1.1).
func ExpectsContinue(major, minor int, h http.Header) bool {
	return (major > 1 || minor > 0) && Lists(h["Expect"], "100-continue")
}
