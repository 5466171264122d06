package front

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// Only a GET or HEAD for a token of pace's own is answered here; every other request goes its way.
func TestChallenged(t *testing.T) {
	s := &Server{Options: Options{HTTP01: func(token string) string {
		if token == "ours" {
			return "ours.key"
		}
		return ""
	}}}
	h := s.challenged(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "next") }))
	for _, tt := range []struct{ method, path, want string }{
		{"GET", "/.well-known/acme-challenge/ours", "ours.key"},
		{"HEAD", "/.well-known/acme-challenge/ours", "ours.key"}, // net/http drops the body
		{"POST", "/.well-known/acme-challenge/ours", "next"},
		{"GET", "/.well-known/acme-challenge/other", "next"},
		{"GET", "/.well-known/acme-challenge/", "next"},
		{"GET", "/.well-known/acme-challenge/ours/", "next"},
		{"GET", "/ours", "next"},
		{"GET", "//.well-known/acme-challenge/ours", "next"},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, "http://a.example/", nil)
		r.URL.Path = tt.path
		h.ServeHTTP(w, r)
		if got := w.Body.String(); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
}
