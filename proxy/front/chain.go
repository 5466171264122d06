package front

import (
	"net/http"
	"runtime/debug"
)

// chain returns what each request passes before Handler, the outermost first.
func (s *Server) chain() http.Handler {
	return reached(s.guard(framed(s.bounded(s.challenged(s.scraped(shareTrailer(s.Handler)))))))
}

// reached notes which requests net/http passes to a handler of pace: it has refused all others.
func reached(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := ConnOf(r.Context())
		c.handling()
		if c.h2 != nil || c.h3 != nil {
			growStack(false)
		}
		if c.h2 != nil {
			id := StreamID(w)
			c.h2.Begin(id)
			defer c.h2.End(id)
		}
		next.ServeHTTP(w, r)
	})
}

// guard passes a panic to OnPanic. [http.ErrAbortHandler] is none: with it a handler aborts its response.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p)
			default:
				s.OnPanic(w, r, p, string(debug.Stack()))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// shareTrailer gives a chunked request the map for its trailer. Without it, net/http would set the map when the
// trailer comes, and only in the request that it knows, of which the handler has otelhttp's copy.
func shareTrailer(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength < 0 && r.Trailer == nil {
			r.Trailer = http.Header{}
		}
		next.ServeHTTP(w, r)
	})
}

// framed notes what the h1.Reader of a connection says about each request's framing. A request whose framing is
// at fault is rejected by the handler, and is the last on its connection. So is the next request on a connection
// whose listener is gone.
func framed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			c := ConnOf(r.Context())
			c.nth++
			fault, last := c.h1.Framing(c.nth)
			if c.misframed = fault; last || c.listener.retired.Load() {
				w.Header()["Connection"] = []string{"close"}
			}
		}
		next.ServeHTTP(w, r)
	})
}
