package upstream

import (
	"testing"

	"pace/proxy/transport"
)

// What may be sent again is asked of every attempt that failed, so a wrong word here is a request done twice.
func TestMayRepeat(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		sent         int64
		want         bool
	}{
		{"a GET of which bytes went out may be sent again", "GET", 100, true},
		{"so may a QUERY, which is safe", "QUERY", 100, true},
		{"a POST may only if no byte of it went out", "POST", 0, true},
		{"a POST of which one byte went out may not", "POST", 1, false},
		{"nor may a PATCH", "PATCH", 1, false},
		{"nor may a method that nobody knows", "BREW", 1, false},
		{"methods are told apart by case", "get", 1, false},
	} {
		if got := MayRepeat(tt.method, &transport.Error{BytesSent: tt.sent}); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

func TestNext(t *testing.T) {
	u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}, Failovers: 1}, nil)
	pool := &u.pool
	stale := &transport.Error{Kind: transport.Reset, Reused: true}
	for _, tt := range []struct {
		name             string
		tries            Tries
		e                *transport.Error
		failover, repeat bool
	}{
		{"another backend is next", Tries{At: pool.Backends()[:1]}, stale, true, false},
		{"where all were tried, a stale connection is replaced", Tries{At: pool.Backends(), Failovers: 1}, stale, false, true},
		{"once", Tries{At: pool.Backends(), Failovers: 1, Retries: 1}, stale, false, false},
		{"a new connection that broke is not replaced", Tries{At: pool.Backends(), Failovers: 1}, &transport.Error{Kind: transport.Reset}, false, false},
	} {
		last := tt.tries.At[len(tt.tries.At)-1]
		got := u.Next(tt.tries, tt.e)
		switch {
		case tt.failover && (got.Backend == nil || got.Backend.Backend == last || got.Fresh),
			tt.repeat && (got.Backend == nil || got.Backend.Backend != last || !got.Fresh),
			!tt.failover && !tt.repeat && got != Step{}:
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

func TestFirst(t *testing.T) {
	u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:81"}}}, nil)
	first, second := u.First(&Request{}).Backend, u.First(&Request{}).Backend
	if first == second || first.Label != "backend_10.0.0.1_80" || second.Label != "backend_10.0.0.2_81" {
		t.Errorf("got %+v, then %+v", first, second)
	}
}
