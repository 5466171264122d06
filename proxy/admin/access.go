package admin

import (
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"strings"
)

// guarded serves calls that change something: they bring the token, or come by a socket in the file system,
// whose mode says who may.
func (a *api) guarded(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		switch {
		case isLocal(r):
		case a.Token == "":
			a.refused(r, "no token is configured")
			refuse(w, http.StatusForbidden, "calls that change something are off: set admin.token_file, or let admin.listen be a unix socket")
			return
		case !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare([]byte(token), []byte(a.Token)) != 1:
			a.refused(r, "wrong token")
			w.Header().Set("WWW-Authenticate", `Bearer realm="pace"`)
			refuse(w, http.StatusUnauthorized, "send Authorization: Bearer with the content of admin.token_file")
			return
		}
		next(w, r)
	}
}

func (a *api) refused(r *http.Request, why string) {
	a.Log.LogAttrs(r.Context(), slog.LevelWarn, "call of the API refused",
		slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.String("by", caller(r)), slog.String("reason", why))
}

// isLocal reports whether a call came by a socket in the file system.
func isLocal(r *http.Request) bool {
	at, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	return at != nil && at.Network() == "unix"
}

// caller says who asked, for the log.
func caller(r *http.Request) string {
	if isLocal(r) {
		return "API, unix socket"
	}
	return "API, " + r.RemoteAddr
}
