package front

import (
	"io"
	"net/http"
	"strings"
)

// challengePath is where a certificate authority asks about a name that it validates by HTTP-01 (RFC 8555 §8.3).
const challengePath = "/.well-known/acme-challenge/"

// challenged responds to the challenges that pace itself has caused, before anything else decides about the request:
// it is neither redirected nor proxied, counted, limited, logged or traced. All others go their way, so a backend can
// have certificates of its own.
func (s *Server) challenged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, is := strings.CutPrefix(r.URL.Path, challengePath)
		if !is || r.Method != http.MethodGet && r.Method != http.MethodHead {
			next.ServeHTTP(w, r)
			return
		}
		response := s.HTTP01(token)
		if response == "" {
			next.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		io.WriteString(w, response)
	})
}
