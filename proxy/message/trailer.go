package message

import (
	"net/http"
	"slices"
	"strings"
)

// TooLate reports whether a field comes too late in a trailer: those of framing, routing, authentication
// and the content, modifiers of requests and control data (RFC 9110 §6.5.1). name is canonical.
func TooLate(name string) bool { return inHeaderOnly[name] }

var inHeaderOnly = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Type": true, "Content-Range": true, "Host": true,
	"Authorization": true, "Www-Authenticate": true, "Cookie": true, "Set-Cookie": true,
	"Cache-Control": true, "Expect": true, "Max-Forwards": true, "Pragma": true, "Range": true,
	"If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true, "If-Range": true,
	"Age": true, "Expires": true, "Date": true, "Location": true, "Retry-After": true, "Vary": true, "Warning": true,
}

// Announcement returns the names of the trailer's fields as the Trailer field lists them, in order.
func Announcement(trailer http.Header) string {
	if len(trailer) == 0 {
		return ""
	}
	names := make([]string, 0, len(trailer))
	for name := range trailer {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
