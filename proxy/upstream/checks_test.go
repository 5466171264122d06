package upstream

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pace/lb/health"
	"pace/proxy/transport/dial"
	"pace/proxy/upstream/check"
)

// checkedByTCP has backends checked every second, by nothing but a connection.
func checkedByTCP(o *Options) {
	o.Checks = Checks{Options: check.Options{Type: "tcp", Interval: time.Second, Timeout: time.Second}}
	o.Health = health.Rules{Checked: true, Fall: 3, Rise: 2}
}

// checksIn returns how many connections are made to each address within d. Nothing else connects meanwhile.
func (n *network) checksIn(d time.Duration) map[string]int {
	n.seen()
	n.mu.Lock()
	n.dialed = nil
	n.mu.Unlock()
	time.Sleep(d)
	_, _, dialed, _ := n.seen()
	counts := map[string]int{}
	for _, addr := range dialed {
		counts[addr]++
	}
	return counts
}

// wantChecks fails t unless within 20 s exactly these addresses are checked, each every second.
func (n *network) wantChecks(t *testing.T, addrs ...string) {
	t.Helper()
	got := n.checksIn(20 * time.Second)
	if !slices.Equal(slices.Sorted(maps.Keys(got)), addrs) {
		t.Errorf("checked are %v, want %v", got, addrs)
	}
	for addr, count := range got {
		if count < 18 || count > 23 {
			t.Errorf("%s is checked %d times in 20 s", addr, count)
		}
	}
}

// A name is resolved by a check if no request came before; then each of its addresses is checked, as long as the name
// has it.
func TestChecks_FollowTheAddressesOfAName(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		checkedByTCP(&o)
		o.Addresses = append(o.Addresses, Address{Addr: "10.0.0.9:80"})
		n.names, n.err = "", &net.DNSError{Err: "no such host", Name: "backend", IsNotFound: true}
		u := New(o, nil)
		defer u.Close()
		n.wantChecks(t, "10.0.0.9:80")
		m := u.Members()[0]
		if m.Addr != "backend:80" || m.State != health.Unhealthy || m.LastCheck.Error != "lookup backend: no such host" {
			t.Errorf("a name that does not resolve is %s: %+v", m.State, m.LastCheck)
		}
		n.resolveTo("10.0.0.1 10.0.0.2", nil)
		time.Sleep(5 * time.Second)
		n.wantChecks(t, "10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80")
		for _, m := range u.Members() {
			if m.State != health.Healthy || m.LastCheck == nil || !m.LastCheck.Passed {
				t.Errorf("%s is %s: %+v", m.Addr, m.State, m.LastCheck)
			}
		}
		n.resolveTo("10.0.0.2 10.0.0.3", nil)
		time.Sleep(31 * time.Second)
		n.wantChecks(t, "10.0.0.2:80", "10.0.0.3:80", "10.0.0.9:80")
	})
}

// A reload lets checks that stay the same go on. Others take the place of those before, and without any nobody is
// unhealthy.
func TestChecks_OverReloads(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		checkedByTCP(&o)
		var changes []string
		o.OnChange = func(c Change) { changes = append(changes, c.Backend.Addr+" "+c.To.String()+": "+c.Reason) }
		o.Addresses = []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}
		n.refuses = "10.0.0.2:80"
		u := New(o, nil)
		time.Sleep(10 * time.Second)
		runners := maps.Clone(u.runners)

		o.Retry.Failovers, o.Addresses = 3, append(o.Addresses, Address{Addr: "10.0.0.3:80"})
		next := New(o, u)
		u.Close()
		n.wantChecks(t, "10.0.0.1:80", "10.0.0.3:80")
		for b, r := range runners {
			if next.runners[b] != r {
				t.Errorf("the checks of %s did not go on", b.Addr)
			}
		}
		if m := next.Members()[1]; m.State != health.Unhealthy || m.LastCheck.Error != "dial: connection refused" {
			t.Errorf("after a reload %s is %s: %+v", m.Addr, m.State, m.LastCheck)
		}

		o.Checks.Interval, o.Addresses = 2*time.Second, o.Addresses[1:]
		refused := New(o, next)
		refused.Close()
		n.wantChecks(t, "10.0.0.1:80", "10.0.0.3:80")

		passed, failed, ok := next.Checks()
		if passed < 60 || failed < 20 || !ok {
			t.Errorf("%d checks passed, %d failed", passed, failed)
		}
		o.Checks, o.Health = Checks{}, health.Rules{}
		without := New(o, next)
		next.Close()
		n.wantChecks(t)
		if again, _, ok := without.Checks(); again < passed || !ok {
			t.Errorf("%d checks passed after a reload, and %d before", again, passed)
		}
		for _, m := range without.Members() {
			if m.State != health.Healthy || m.LastCheck != nil {
				t.Errorf("without checks %s is %s: %+v", m.Addr, m.State, m.LastCheck)
			}
		}
		want := []string{"10.0.0.2:80 unhealthy: 3 checks in a row failed, the last one: dial: connection refused", "10.0.0.2:80 healthy: it is not checked any more"}
		if !slices.Equal(changes, want) {
			t.Errorf("changes: %q, want %q", changes, want)
		}
		without.Close()
	})
}

// Close ends the checks, also one that is in flight.
func TestChecks_EndWithTheUpstream(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		checkedByTCP(&o)
		o.Addresses, o.Checks.Timeout = []Address{{Addr: "10.0.0.1:80"}}, time.Hour
		var dialing, dialed atomic.Int32
		o.Transport.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			dialed.Add(1)
			dialing.Add(1)
			defer dialing.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}
		u := New(o, nil)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := dialing.Load(); n != 1 {
			t.Errorf("%d checks are in flight, want 1", n)
		}
		u.Close()
		synctest.Wait()
		if n := dialing.Load(); n != 0 {
			t.Errorf("%d checks are in flight after the end", n)
		}
		time.Sleep(time.Minute)
		if n := dialed.Load(); n != 1 {
			t.Errorf("%d checks began, want 1", n)
		}
		if passed, failed, _ := u.Checks(); passed != 0 || failed != 0 {
			t.Errorf("%d checks passed, %d failed", passed, failed)
		}
	})
}

// A check is the trial of a backend that is ejected: its result decides, and no request goes there before.
func TestChecks_AreTheTrialAfterAnEjection(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		checkedByTCP(&o)
		o.Health.Ejection = health.Ejection{Enabled: true, ConsecutiveFailures: 1, Base: 5 * time.Second, Max: time.Minute}
		o.MaxShare = 1
		o.Addresses = []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}
		u := New(o, nil)
		defer u.Close()
		time.Sleep(2 * time.Second)
		first := u.Members()[0].Backend
		u.Ended(Step{Backend: first}, time.Now(), Result{Kind: Failure, Fault: health.Failure{One: "reset", Many: "resets"}})
		for second := range 8 {
			state := u.Members()[0].State
			switch {
			case second < 5 && state != health.Ejected: // its checks pass, and its time is not up
				t.Errorf("after %d s it is %s", second, state)
			case second > 6 && state != health.Healthy:
				t.Errorf("after %d s it is %s", second, state)
			}
			for range 4 {
				if b := u.First(&Request{Repeatable: true, Now: time.Now()}).Backend; state == health.Ejected && b == first {
					t.Errorf("after %d s it gets a request", second)
				}
			}
			time.Sleep(time.Second)
		}
	})
}

func TestChecks_AtAnotherPort(t *testing.T) {
	for _, tt := range []struct {
		name      string
		at        dial.Address
		authority string
		port      int
		want      dial.Address
		field     string
	}{
		{"an address", dial.Address{Network: "tcp", Addr: "10.0.0.1:80"}, "10.0.0.1:80", 81, dial.Address{Network: "tcp", Addr: "10.0.0.1:81"}, "10.0.0.1:81"},
		{"an address of a name, with its others", dial.Address{Network: "tcp", Addr: "10.0.0.1:80", Others: []string{"[2001:db8::1]:80"}}, "app:80", 81,
			dial.Address{Network: "tcp", Addr: "10.0.0.1:81", Others: []string{"[2001:db8::1]:81"}}, "app:81"},
		{"the backend's own", dial.Address{Network: "tcp", Addr: "10.0.0.1:80"}, "app:80", 0, dial.Address{Network: "tcp", Addr: "10.0.0.1:80"}, "app:80"},
		{"a socket has none", dial.Address{Network: "unix", Addr: "/run/app.sock"}, "localhost", 81, dial.Address{Network: "unix", Addr: "/run/app.sock"}, "localhost"},
	} {
		c := Checks{Port: tt.port}
		got, field := c.address(tt.at), c.authority(&Backend{at: tt.at, Authority: tt.authority})
		if got.Network != tt.want.Network || got.Addr != tt.want.Addr || !slices.Equal(got.Others, tt.want.Others) || field != tt.field {
			t.Errorf("%s: got %+v, Host %s; want %+v, Host %s", tt.name, got, field, tt.want, tt.field)
		}
	}
}
