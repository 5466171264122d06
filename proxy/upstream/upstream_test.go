package upstream

import (
	"testing"
	"time"

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
		if got := MayRepeat(tt.method, tt.sent); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}

// stepAfter returns what follows an attempt whose connection was lost.
func (u *Upstream) stepAfter(t Tries, e *transport.Error) Step {
	f := u.Further(t, "upstream_reset", e, time.Now())
	if f < Failover {
		return Step{}
	}
	return u.Next(t, f)
}

// TestFurther is the table of what may follow an attempt, and where it goes.
func TestFurther(t *testing.T) {
	stale, fresh := &transport.Error{Kind: transport.Reset, Reused: true}, &transport.Error{Kind: transport.Reset}
	refused := &transport.Error{Kind: transport.ConnectFailed}
	for _, tt := range []struct {
		name                      string
		on                        []string
		reason                    string
		e                         *transport.Error
		tried, failovers, retries int // of two backends, of one failover
		want                      Further
	}{
		{"another backend is next", nil, "upstream_reset", stale, 1, 0, 0, Failover},
		{"as many as are allowed", nil, "upstream_reset", fresh, 1, 1, 0, NoMoreFailovers},
		{"where all were tried, a stale connection is replaced", nil, "upstream_reset", stale, 2, 0, 0, Retry},
		{"or where no failover is allowed", nil, "upstream_reset", stale, 1, 1, 0, Retry},
		{"once", nil, "upstream_reset", stale, 2, 0, 1, AllTried},
		{"a new connection that broke is not replaced", nil, "upstream_reset", fresh, 2, 0, 0, AllTried},
		{"a connection that could not be made", nil, "connect_failed", refused, 1, 0, 0, Failover},
		{"a name that did not resolve is the same", nil, "dns_failed", refused, 1, 0, 0, Failover},
		{"and a missing port", nil, "exhausted", refused, 1, 0, 0, Failover},
		{"but not if only a reset is called for", []string{"upstream_reset"}, "dns_failed", refused, 1, 0, 0, NotCalledFor},
		{"a name that did not resolve may be called for alone", []string{"dns_failed"}, "dns_failed", refused, 1, 0, 0, Failover},
		{"a slow backend may still be at work", nil, "upstream_timeout", refused, 1, 0, 0, NotCalledFor},
		{"what is no HTTP needs to be called for", nil, "upstream_invalid", refused, 1, 0, 0, NotCalledFor},
		{"and a status", nil, "503", nil, 1, 0, 0, NotCalledFor},
		{"which it may be", []string{"503", "upstream_timeout"}, "503", nil, 1, 0, 0, Failover},
		{"nothing is", []string{}, "connect_failed", refused, 1, 0, 0, NotCalledFor},
		{"not even a stale connection", []string{}, "upstream_reset", stale, 2, 0, 0, NotCalledFor},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}, Retry: RetryOptions{On: tt.on, Failovers: 1}}, nil)
			tries := Tries{At: u.pool.Backends()[:tt.tried], Failovers: tt.failovers, Retries: tt.retries}
			got := u.Further(tries, tt.reason, tt.e, time.Now())
			if got != tt.want {
				t.Fatalf("got %d, want %d", got, tt.want)
			}
			last := tries.At[len(tries.At)-1]
			switch step := u.Next(tries, got); {
			case got == Failover && (step.Backend == nil || step.Backend.Backend == last || step.Fresh || step.Reason != "failover"),
				got == Retry && (step.Backend == nil || step.Backend.Backend != last || !step.Fresh):
				t.Errorf("got %+v", step)
			}
		})
	}
}

// Only what is made is charged to the budget, a retry as well as a failover.
func TestFurther_IsChargedToTheBudget(t *testing.T) {
	u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}, Retry: RetryOptions{Failovers: 1, Budget: 0.5}}, nil)
	now := time.Now()
	stale := &transport.Error{Kind: transport.Reset, Reused: true}
	for range 4 {
		u.Begin(now)
	}
	for i := range 40 {
		u.Further(Tries{At: u.pool.Backends()}, "503", nil, now)
		u.Further(Tries{At: u.pool.Backends(), Retries: 1}, "upstream_reset", stale, now)
		want := OverBudget
		tries := Tries{At: u.pool.Backends()[:1+i%2]}
		if i < 32 {
			want = []Further{Failover, Retry}[i%2]
		}
		if got := u.Further(tries, "upstream_reset", stale, now); got != want {
			t.Fatalf("attempt %d: got %d, want %d", i, got, want)
		}
	}
	again := New(Options{Addresses: u.o.Addresses, Retry: RetryOptions{Failovers: 1, Budget: 1}}, u)
	for i, want := range []Further{Failover, Failover, OverBudget} {
		if got := again.Further(Tries{At: u.pool.Backends()[:1]}, "upstream_reset", stale, now); got != want {
			t.Errorf("attempt %d after a reload: got %d, want %d", i, got, want)
		}
	}
}

// The pause before an attempt is any up to the limit, which doubles.
func TestBackoff(t *testing.T) {
	u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}}, Retry: RetryOptions{Backoff: 10 * time.Second}}, nil)
	for n, limit := range []time.Duration{1: 10 * time.Second, 2: 20 * time.Second, 3: 40 * time.Second, 4: time.Minute, 5: time.Minute, 100: time.Minute} {
		if limit == 0 {
			continue
		}
		var sum, longest time.Duration
		for range 1000 {
			d := u.Backoff(n)
			sum, longest = sum+d, max(longest, d)
		}
		if mean := sum / 1000; longest > limit || longest < limit*95/100 || mean < limit*45/100 || mean > limit*55/100 {
			t.Errorf("attempt %d: pauses of %v on average and %v at most, want half of %v, and that", n, mean, longest, limit)
		}
	}
	if d := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}}}, nil).Backoff(3); d != 0 {
		t.Errorf("a pause of %v that nobody asked for", d)
	}
}

func TestFirst(t *testing.T) {
	u := New(Options{Addresses: []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:81"}}}, nil)
	first, second := u.First(&Request{}).Backend, u.First(&Request{}).Backend
	if first == second || first.Label != "backend_10.0.0.1_80" || second.Label != "backend_10.0.0.2_81" {
		t.Errorf("got %+v, then %+v", first, second)
	}
}
