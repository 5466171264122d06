package front

import (
	"net/http"

	"pace/proxy/message"
	"pace/telemetry"
)

// readHeaderBytes is how much of a header net/http reads, where pace takes most bytes. By HTTP/2 it would
// close the connection with all its requests for a single field that is larger; so it reads some more,
// and pace rejects the one request. A header that needs one frame gets its 431 however small the limit is.
func readHeaderBytes(most int) int { return most + max(most, 2*largestFrame) }

// bounded refuses a request whose header has more than MaxHeaderBytes as net/http does, which cannot do it to
// the byte: of HTTP/1.1 it lets pass some 4 KiB more, since it cannot tell the header from what it read ahead.
func (s *Server) bounded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if headerBytes(r) <= s.settings.Load().MaxHeaderBytes {
			next.ServeHTTP(w, r)
			return
		}
		s.refuse(telemetry.RefusedHeaderTooLarge, ConnOf(r.Context()))
		if r.ProtoMajor == 1 {
			w.Header()["Connection"] = []string{"close"}
		}
		http.Error(w, "431 Request Header Fields Too Large", http.StatusRequestHeaderFieldsTooLarge)
	})
}

// headerBytes is the length of the request's header as the protocol counts it, without blanks that mean
// nothing and the few fields that net/http keeps elsewhere.
func headerBytes(r *http.Request) int {
	perField := len(": \r\n")
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host) + len("\r\n")
	if r.ProtoMajor == 2 { // RFC 9113 §10.5.1
		perField = 32
		n = len(":method") + len(r.Method) + len(":path") + len(r.RequestURI) + len(":scheme"+message.HTTP) + len(":authority") + len(r.Host) + 4*perField
	}
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + perField + len(v)
		}
	}
	return n
}
