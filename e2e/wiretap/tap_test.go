package wiretap

import (
	"fmt"
	"net"
	"slices"
	"testing"

	"pace/e2e/pacetest"
)

// dial opens n connections and closes them, with what was written on each in between.
func dial(t *testing.T, address string, n int, write string) {
	t.Helper()
	for range n {
		w := pacetest.DialWire(t, address)
		if write != "" {
			w.Send(write)
			w.Response("GET")
		}
		w.Close()
	}
}

// TestTap makes every kind of traffic on each port, and the same on a port that the tap must ignore.
func TestTap(t *testing.T) {
	closed, backend, other := pacetest.NewClosed(t), pacetest.NewBackend(t, pacetest.Fine), pacetest.NewBackend(t, pacetest.Fine)
	blackhole := pacetest.NewBlackhole(t)
	w := Open(t, closed, backend, blackhole)
	const request = "GET /x HTTP/1.1\r\nHost: x\r\ntraceparent: 00-%032d-%016d-01\r\nX: y\r\n\r\n"
	var want []string
	for i := range 3 {
		if c, err := net.Dial("tcp", closed.Address()); err == nil {
			c.Close()
			t.Fatal("a closed port took a connection")
		}
		dial(t, backend.Address(), 1, fmt.Sprintf(request, i+1, i+1))
		want = append(want, fmt.Sprintf("00-%032d-%016d-01", i+1, i+1))
		dial(t, other.Address(), 1, fmt.Sprintf(request, 9, 9))
	}
	dial(t, backend.Address(), 1, "GET /x HTTP/1.1\r\nHost: x\r\n\r\n") // used, but in no trace
	dial(t, backend.Address(), 2, "")
	unanswered, err := net.DialTimeout("tcp", blackhole.Address(), pacetest.Patience/100)
	if err == nil {
		unanswered.Close()
		t.Fatal("a black hole took a connection")
	}

	if got := w.At(closed.Address()); got.SYNs != 3 || got.Refused != 3 || got.Opened != 0 || got.Used != 0 || len(got.Traceparents) != 0 {
		t.Errorf("of the closed port it says %+v, want 3 connections refused", got)
	}
	if got := w.At(backend.Address()); got.SYNs != 6 || got.Refused != 0 || got.Opened != 6 || got.Used != 4 || !slices.Equal(got.Traceparents, want) {
		t.Errorf("of the backend it says %+v, want 6 connections, 4 of them used, for %q", got, want)
	}
	if got := w.At(blackhole.Address()); got.SYNs != 1 || got.Refused != 0 || got.Opened != 0 {
		t.Errorf("of the black hole it says %+v, want 1 connection asked for", got)
	}
}

// TestTap_AtIsUpToDate asks at once after each request, many times over.
func TestTap_AtIsUpToDate(t *testing.T) {
	backend := pacetest.NewBackend(t, pacetest.Fine)
	w := Open(t, backend)
	c := pacetest.DialWire(t, backend.Address())
	for i := range 2000 {
		c.Send("GET /x HTTP/1.1\r\nHost: x\r\ntraceparent: x\r\n\r\n")
		c.Response("GET")
		if n := len(w.At(backend.Address()).Traceparents); n != i+1 {
			t.Fatalf("after %d requests the tap knows of %d", i+1, n)
		}
	}
}
