package front

import (
	"net/http"

	"pace/proxy/front/h2"
	"pace/proxy/message"
	"pace/telemetry"
)

// readHeaderBytes returns how much of a header net/http reads if pace accepts limit bytes. Over HTTP/2 it would
// close the connection with all its requests because of one field that is larger. So it reads some more, and
// pace refuses the one request. A header that fits into one frame gets its 431 however small the limit is.
func readHeaderBytes(limit int) int { return limit + max(limit, 2*h2.LargestFrame) }

// bounded refuses a request whose header has more than MaxHeaderBytes. net/http does the same, but not to the
// byte: over HTTP/1.1 it passes about 4 KiB more, since it cannot tell the header from what it read ahead.
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

// headerBytes returns the length of the request's header as the protocol counts it, without blanks that mean
// nothing and without the few fields that net/http keeps elsewhere.
func headerBytes(r *http.Request) int {
	perField := len(": \r\n")
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host) + len("\r\n")
	if r.ProtoMajor >= 2 { // RFC 9113 §10.5.1, RFC 9114 §4.2.2
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
