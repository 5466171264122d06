package upstream

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pace/lb"
)

func header(pairs ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(pairs); i += 2 {
		h.Add(pairs[i], pairs[i+1])
	}
	return h
}

// What a request has of it decides, and nothing else; a request without it has no key.
func TestBy_Key(t *testing.T) {
	client := func(a string) *Request { return &Request{Client: netip.MustParseAddr(a)} }
	for _, tt := range []struct {
		name, by string
		a, b     *Request
		same     bool
		none     bool // b has no key
	}{
		{"one client", "client_ip", client("10.0.0.1"), client("::ffff:10.0.0.1"), true, false},
		{"two clients", "client_ip", client("10.0.0.1"), client("10.0.0.2"), false, false},
		{"one path", "path", &Request{Path: "/a"}, &Request{Path: "/a", Header: header("X", "1")}, true, false},
		{"two paths", "path", &Request{Path: "/a"}, &Request{Path: "/b"}, false, false},
		{"one field in any case of its name", "header:x-tenant", &Request{Header: header("X-Tenant", "a")}, &Request{Header: header("X-Tenant", "a", "X-Tenant", "b")}, true, false},
		{"no such field", "header:X-Tenant", &Request{Header: header("X-Tenant", "a")}, &Request{Header: header("Other", "a")}, false, true},
		{"one cookie among others", "cookie:s", &Request{Header: header("Cookie", "a=1; s=x")}, &Request{Header: header("Cookie", "s=x; s=y")}, true, false},
		{"no such cookie", "cookie:s", &Request{Header: header("Cookie", "s=x")}, &Request{Header: header("Cookie", "t=x")}, false, true},
		{"an empty value is one", "cookie:s", &Request{Header: header("Cookie", "s=x")}, &Request{Header: header("Cookie", "s=")}, false, false},
	} {
		by := ParseBy(tt.by)
		a, b := by.Key(tt.a), by.Key(tt.b)
		if a == 0 || (a == b) != tt.same || (b == 0) != tt.none {
			t.Errorf("%s: keys %d and %d", tt.name, a, b)
		}
	}
}

func threeBackends() []Address {
	return []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}, {Addr: "10.0.0.3:80"}}
}

func TestFirst_HashKeepsAKeyTogether(t *testing.T) {
	o := Options{Addresses: threeBackends(), Policy: lb.Hash, HashBy: ParseBy("header:X-Tenant")}
	u := New(o, nil)
	r := &Request{Header: header("X-Tenant", "seven")}
	want := u.First(r)
	for range 20 {
		if got := u.First(r); got != want || got.Reason != "" {
			t.Fatalf("got %+v, want %+v", got, want)
		}
		want.Backend.End()
	}
	if got := u.First(&Request{}); got.Reason != "no_key" {
		t.Errorf("without the field: %+v", got)
	}
	for range 9 {
		want.Backend.Begin()
	}
	if got := u.First(r); got.Backend == want.Backend || got.Reason != "overflow" {
		t.Errorf("with nine in flight: %+v", got)
	}
	if got := u.Further(Tries{At: []*lb.Backend{want.Backend.Backend}}, "connect_failed", nil, time.Now()); got != NoMoreFailovers {
		t.Errorf("without failovers: %+v", got)
	}
}

func TestStickyCookie_KeepsAClientAtItsBackend(t *testing.T) {
	o := Options{Addresses: threeBackends(), StickyCookie: "at", Retry: RetryOptions{Failovers: 1}}
	u, again := New(o, nil), New(o, nil)
	first := u.First(&Request{}).Backend
	set := u.StickyCookie(first, nil, false)
	if !strings.HasPrefix(set, "at=") || !strings.HasSuffix(set, "; Path=/; HttpOnly") || strings.Contains(set, "10.") {
		t.Errorf("Set-Cookie: %s", set)
	}
	if secure := u.StickyCookie(first, nil, true); secure != set+"; Secure" {
		t.Errorf("over TLS: Set-Cookie: %s", secure)
	}
	value, _, _ := strings.Cut(set, ";")
	mine := header("Cookie", "other=1; "+value)
	for range 5 {
		if got := again.First(&Request{Header: mine}); got.Backend.Addr != first.Addr || got.Reason != "sticky" {
			t.Errorf("after a restart: got %+v, want %s", got, first.Addr)
		}
	}
	if got := u.StickyCookie(first, mine, false); got != "" {
		t.Errorf("a client that has the cookie gets it again: %s", got)
	}
	if step := u.Next(Tries{At: []*lb.Backend{first.Backend}}, Failover); step.Reason != "failover" || u.StickyCookie(step.Backend, mine, false) == "" {
		t.Errorf("after a failover to %+v, the client gets no new cookie", step)
	}
	if got := u.First(&Request{Header: header("Cookie", "at=unknown")}); got.Reason != "" || u.StickyCookie(got.Backend, header("Cookie", "at=unknown"), false) == "" {
		t.Errorf("an unknown value: %+v", got)
	}
	if off := New(Options{Addresses: threeBackends()}, nil); off.StickyCookie(off.Backends()[0], nil, false) != "" {
		t.Error("a cookie that is switched off is set")
	}
}

// A backend that fails at once must not look like the fastest.
func TestPeakEWMA_AvoidsABackendThatFails(t *testing.T) {
	for name, fail := range map[string]func(n *network, addr string){
		"refuses":      func(n *network, addr string) { n.refuses = addr },
		"responds 503": func(n *network, addr string) { n.busy = addr },
	} {
		t.Run("one that "+name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network, o Options) {
				o.Addresses, o.Policy = []Address{{Addr: "10.0.0.1:80"}, {Addr: "10.0.0.2:80"}}, lb.PeakEWMA
				fail(n, "10.0.0.1:80")
				u := New(o, nil)
				defer u.Close()
				got := 0
				for range 100 {
					b := u.First(&Request{Now: time.Now()}).Backend
					if b.Addr == "10.0.0.1:80" {
						got++
					}
					get(t, b, nil)
				}
				if got > 2 {
					t.Errorf("%d of 100 went to the backend that fails", got)
				}
			})
		})
	}
}
