package front

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
)

// What a request passes before the handler costs it no allocation.
func TestServer_AllocatesNothingBeforeTheHandler(t *testing.T) {
	reached := 0
	s := NewServer(Options{
		Handler:  http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }),
		InFlight: new(InFlight),
		Settings: Settings{MaxHeaderBytes: 1 << 16, Scrape: &Scrape{Path: "/metrics"}},
	})
	defer s.ended()
	r := httptest.NewRequestWithContext(WithConn(context.Background(), &Conn{server: s, listener: &listener{}}), "GET", "/", nil)
	r.Header.Set("User-Agent", "test/1")
	w := httptest.NewRecorder()
	got := testing.AllocsPerRun(100, func() { s.handler.ServeHTTP(w, r) })
	if got > 0 || reached == 0 {
		t.Errorf("%.0f allocations before the handler, which was reached %d times", got, reached)
	}
}
