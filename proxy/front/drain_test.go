package front

import (
	"io"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// A request that has begun while net/http shut down, and has become a stream, is waited for like any other.
func TestDrain_WaitsForAStreamThatBeganLast(t *testing.T) {
	s, address := serving(t, Settings{ReadHeaderTimeout: time.Minute, MaxHeaderBytes: 1 << 16})
	reached, begin, upgraded := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var over atomic.Bool
	s.Handler.(*handler).set(func(w http.ResponseWriter, r *http.Request) {
		close(reached)
		<-begin
		var x Exchange
		s.InFlight.Begin(&x, ConnOf(r.Context()), w)
		nc, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
		}
		close(upgraded)
		time.Sleep(300 * time.Millisecond)
		over.Store(true)
		nc.Close()
		x.End()
	})
	c := dialled(t, address)
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-reached
	ended := make(chan error, 1)
	go func() { ended <- s.Drain(t.Context()) }()
	time.Sleep(300 * time.Millisecond) // until net/http shuts down
	close(begin)
	<-upgraded
	if err := <-ended; err != nil || !over.Load() {
		t.Errorf("the drain ended with %v; the stream was over: %t", err, over.Load())
	}
}
