package upstream

import (
	"cmp"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb"
	"pace/proxy/transport"
)

func TestFirst_ReservesRoomUntilEnd(t *testing.T) {
	for _, tt := range []struct {
		name                  string
		requests, connections int
		room                  int // at each of the two backends; 0: without end
	}{
		{"without a limit there is always room", 0, 0, 0},
		{"max_requests is the limit", 3, 0, 3},
		{"max_connections is the limit, too, because a request needs a connection of its own", 0, 2, 2},
		{"of both, the lower one holds", 3, 2, 2},
		{"whichever it is", 1, 2, 1},
	} {
		u := New(Options{
			Addresses:   []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}},
			MaxRequests: tt.requests, MaxConnections: tt.connections,
		}, nil)
		for range 100 {
			u.First(&Request{})
		}
		for _, b := range u.Backends() {
			if want := cmp.Or(tt.room, 50); b.InFlight() != want {
				t.Errorf("%s: %s has %d requests in flight, want %d", tt.name, b.Addr, b.InFlight(), want)
			}
		}
		step := u.First(&Request{})
		if tt.room == 0 {
			continue
		}
		if step.Backend != nil || !step.Full {
			t.Errorf("%s: with both full: got %+v, want none, because all are full", tt.name, step)
		}
		u.Backends()[1].End()
		if step = u.First(&Request{}); step.Backend != u.Backends()[1] || step.Full {
			t.Errorf("%s: with room at the second: got %+v", tt.name, step)
		}
	}
}

func TestFirst_OfAnEmptyPoolIsNotFull(t *testing.T) {
	if step := New(Options{MaxRequests: 1}, nil).First(&Request{}); step.Backend != nil || step.Full {
		t.Errorf("got %+v, want none for another reason than a limit", step)
	}
}

// However a backend is picked, its limit holds.
func TestFirst_NobodyIsAboveTheLimit(t *testing.T) {
	u := New(Options{Addresses: threeBackends(), MaxRequests: 1, StickyCookie: "at", Retry: RetryOptions{Failovers: 2}}, nil)
	b := u.First(&Request{}).Backend
	mine := header("Cookie", "at="+b.token)
	if step := u.First(&Request{Header: mine}); step.Backend == nil || step.Backend == b {
		t.Errorf("the cookie's backend is full: got %+v, want another one", step)
	}
	step := u.stepAfter(Tries{At: []*lb.Backend{b.Backend}}, &transport.Error{})
	if step.Backend == nil || step.Backend == b {
		t.Errorf("one backend has room: got %+v, want a failover to it", step)
	}
	stale := &transport.Error{Kind: transport.Reset, Reused: true}
	if step := u.stepAfter(Tries{At: []*lb.Backend{b.Backend}}, stale); step.Backend != nil {
		t.Errorf("no backend has room: got %+v, want neither failover nor retry", step)
	}
	b.End()
	if step := u.stepAfter(Tries{At: []*lb.Backend{b.Backend}}, stale); step.Backend != b || !step.Fresh {
		t.Errorf("the backend of the failed attempt has room again: got %+v, want a retry", step)
	}
	if n := b.InFlight(); n != 1 {
		t.Errorf("%d requests are in flight at it, want 1", n)
	}
}

// A limit that a reload changes holds for the backends that stay.
func TestNew_LimitsBackendsThatStay(t *testing.T) {
	o := Options{Addresses: []Address{{Addr: "10.0.0.1:80"}}, MaxRequests: 2}
	before := New(o, nil)
	before.First(&Request{})
	before.First(&Request{})
	o.MaxRequests = 3
	next := New(o, before)
	before.Close()
	if step := next.First(&Request{}); step.Backend != before.Backends()[0] {
		t.Errorf("with a raised limit: got %+v", step)
	}
	if step := next.First(&Request{}); !step.Full {
		t.Errorf("above it: got %+v", step)
	}
}

// The requests that resolve a name together are in flight at its addresses then, each up to the limit.
func TestResolve_ReservesRoomAtTheAddresses(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		n.names, n.takes, o.MaxRequests = "10.0.0.1 10.0.0.2", time.Second/2, 4
		u := New(o, nil)
		defer u.Close()
		unknown := u.Backends()[0]
		var full atomic.Int64
		var all sync.WaitGroup
		for range 4 {
			b := u.First(&Request{}).Backend
			all.Go(func() {
				if _, err := b.Resolve(t.Context(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		if step := u.First(&Request{}); !step.Full {
			t.Errorf("the name has as many requests as it may: got %+v", step)
		}
		all.Wait()
		for range 8 { // as if they had come while the last of the four was still looking
			unknown.Begin()
			_, err := unknown.Resolve(t.Context(), nil)
			if e, ok := errors.AsType[*transport.Error](err); ok && e.Kind == transport.Full {
				full.Add(1)
				unknown.End()
			}
		}
		synctest.Wait()
		for _, b := range u.Backends() {
			if b.InFlight() != 4 {
				t.Errorf("%s has %d requests in flight, want 4", b.Addr, b.InFlight())
			}
		}
		if full.Load() != 4 || unknown.InFlight() != 0 {
			t.Errorf("%d of 4 found no room, and %d are in flight at the name", full.Load(), unknown.InFlight())
		}
	})
}

// An overloaded upstream must not cost memory for each request that it rejects.
func TestFirst_OfAFullUpstreamAllocatesNothing(t *testing.T) {
	u := New(Options{Addresses: threeBackends(), MaxRequests: 1}, nil)
	for range 3 {
		u.First(&Request{})
	}
	r := &Request{Client: netip.MustParseAddr("192.0.2.1"), Path: "/"}
	if n := testing.AllocsPerRun(1000, func() { u.First(r) }); n != 0 {
		t.Errorf("a pick of a full upstream: %v allocations, want 0", n)
	}
}
