package front

import (
	"net/http"
	"net/netip"

	"pace/proxy/message"
)

// Scrape is the path under which the proxy's own listener shows the metrics.
type Scrape struct {
	Path    string
	Metrics http.Handler   // nil: there are none, and the path is not proxied either
	Allow   []netip.Prefix // the peers that may see them; those on loopback may always
}

// scraped serves the metrics; such requests are neither proxied nor counted, limited, logged or traced.
func (s *Server) scraped(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch s := s.settings.Load().Scrape; {
		case s == nil || r.URL.Path != s.Path:
			next.ServeHTTP(w, r)
		case s.Metrics == nil || !s.allowed(r):
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the metrics answer GET and HEAD", http.StatusMethodNotAllowed)
		default:
			s.Metrics.ServeHTTP(w, r)
		}
	})
}

// allowed reports whether the peer may see the metrics: one in Allow, or one on loopback that is no proxy.
func (s *Scrape) allowed(r *http.Request) bool {
	peer := ConnOf(r.Context()).Peer.Addr
	return message.Contains(s.Allow, peer) || peer.IsLoopback() && !message.IsProxied(r.Header)
}
