package front

import "net/http"

// framed notes what a connection's [heads] say of each request's framing. One whose framing is at fault
// is refused by the handler, and is the last on its connection.
func framed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor == 1 {
			c := ConnOf(r.Context())
			c.nth++
			fault, last := c.heads.framing(c.nth)
			if c.misframed = fault; last {
				w.Header()["Connection"] = []string{"close"}
			}
		}
		next.ServeHTTP(w, r)
	})
}
