package proxy

import "net/http"

// bounded answers a request whose header has more than most bytes as net/http does, which lets pass
// some 4 KiB more: it cannot tell the header from what it read ahead. That the request was refused
// is seen where net/http's own refusals are.
func bounded(most int, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if headerBytes(r) <= most {
			next.ServeHTTP(w, r)
			return
		}
		w.Header()["Connection"] = []string{"close"}
		http.Error(w, "431 Request Header Fields Too Large", http.StatusRequestHeaderFieldsTooLarge)
	})
}

// headerBytes is the length of the request's header as HTTP/1.1 writes it, without blanks that mean
// nothing and the few fields that net/http keeps elsewhere.
func headerBytes(r *http.Request) int {
	n := len(r.Method) + len(r.RequestURI) + len("  HTTP/1.1\r\n") + len("Host: \r\n") + len(r.Host) + len("\r\n")
	for name, values := range r.Header {
		for _, v := range values {
			n += len(name) + len(": \r\n") + len(v)
		}
	}
	return n
}
