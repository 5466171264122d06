package contract

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// balanced is the configuration of an upstream with a policy, and more keys of it in pairs.
func balanced(policy string, backends []*pacetest.Backend, pairs ...string) pacetest.Config {
	list := make([]interface{ Address() string }, len(backends))
	for i, b := range backends {
		list[i] = b
	}
	cfg := set(upstreams(list...), "upstreams", "policy", policy)
	for i := 0; i < len(pairs); i += 2 {
		cfg = set(cfg, "upstreams", pairs[i], pairs[i+1])
	}
	return cfg
}

func fineBackends(t *testing.T, n int) []*pacetest.Backend {
	list := make([]*pacetest.Backend, n)
	for i := range list {
		list[i] = pacetest.NewBackend(t, pacetest.Fine)
	}
	return list
}

func TestPolicy_RandomUsesAll(t *testing.T) {
	t.Parallel()
	backends := fineBackends(t, 2)
	p := pacetest.Start(t, balanced("random", backends))
	for range 100 {
		wantStatus(t, p.Get("/x"), 200)
	}
	for _, b := range backends { // fewer than 20 of 100: once in 10^9 runs
		if n := len(b.Requests()); n < 20 {
			t.Errorf("%s got %d of 100 requests", b.Name(), n)
		}
	}
}

// TestPolicy_LeastRequestAvoidsTheBusy: while one backend holds a request, the other gets all.
func TestPolicy_LeastRequestAvoidsTheBusy(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	busy := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/hold": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	free := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, balanced("least_request", []*pacetest.Backend{busy, free}))
	held := make(chan pacetest.Response)
	begin := func() { go func() { held <- p.Get("/hold") }() }
	for begin(); len(busy.Got("/hold")) == 0; { // each of them goes to the busy one or to the free one
		select {
		case got := <-held:
			wantStatus(t, got, 200)
			begin()
		case <-time.After(time.Millisecond):
		}
	}
	for range 40 {
		wantStatus(t, p.Get("/x"), 200)
	}
	if n := len(busy.Got("/x")); n != 0 {
		t.Errorf("the busy backend got %d of 40 requests", n)
	}
	close(open)
	wantStatus(t, <-held, 200)
	pacetest.Eventually(t, func() error { // it is free again
		wantStatus(t, p.Get("/later"), 200)
		if len(busy.Got("/later")) == 0 {
			return notYet("the backend that was busy gets no more requests")
		}
		return nil
	})
}

func TestPolicy_PeakEWMAAvoidsTheSlow(t *testing.T) {
	t.Parallel()
	const delay = 2 * time.Second // a busy machine may well make the fast one take 200 ms
	slow, fast := pacetest.NewBackend(t, pacetest.Later(delay, pacetest.Fine)), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, balanced("peak_ewma", []*pacetest.Backend{slow, fast}))
	for range 60 {
		wantStatus(t, p.Get("/x"), 200)
	}
	if n := len(slow.Requests()); n > 3 {
		t.Errorf("the slow backend got %d of 60 requests", n)
	}
}

// TestPolicy_HashKeepsAKeyTogether: each tenant has one backend, the same in another pace.
func TestPolicy_HashKeepsAKeyTogether(t *testing.T) {
	t.Parallel()
	backends := fineBackends(t, 3)
	cfg := balanced("hash", backends, "hash_by", "header:X-Tenant")
	p, spans := pacetest.StartTraced(t, cfg)
	again := pacetest.Start(t, cfg)
	used := map[string]bool{}
	for tenant := range 30 {
		home := p.Get("/x", "X-Tenant", fmt.Sprint(tenant)).Header.Get("X-Backend")
		used[home] = true
		for _, p := range []*pacetest.Pace{p, p, again} {
			if got := p.Get("/x", "X-Tenant", fmt.Sprint(tenant)).Header.Get("X-Backend"); got != home {
				t.Errorf("tenant %d is at %q and at %q", tenant, home, got)
			}
		}
	}
	if len(used) != 3 {
		t.Errorf("30 tenants use %v", used)
	}
	wantStatus(t, p.Get("/without"), 200)
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/without"))
	wantAttr(t, trace.Clients[0].Attrs, "pace.pick.reason", "no_key")
}

// TestStickyCookie_KeepsAClient at the backend that it got first, over a restart and until that fails.
func TestStickyCookie_KeepsAClient(t *testing.T) {
	t.Parallel()
	backends := fineBackends(t, 3)
	cfg := balanced("round_robin", backends, "sticky_cookie", "at")
	p, spans := pacetest.StartTraced(t, cfg)
	again := pacetest.Start(t, cfg)
	first := p.Get("/first")
	wantStatus(t, first, 200)
	home, cookie := first.Header.Get("X-Backend"), first.Header.Get("Set-Cookie")
	value, attributes, _ := strings.Cut(cookie, ";")
	if !strings.HasPrefix(value, "at=") || attributes != " Path=/; HttpOnly" || strings.Contains(value, "127.") {
		t.Errorf("Set-Cookie: %s", cookie)
	}
	for _, p := range []*pacetest.Pace{p, p, p, again, again, again} {
		got := p.Get("/stays", "Cookie", "other=1; "+value)
		if got.Header.Get("X-Backend") != home || got.Header.Get("Set-Cookie") != "" {
			t.Errorf("the client is at %s, and gets %q; want %s", got.Header.Get("X-Backend"), got.Header.Get("Set-Cookie"), home)
		}
	}
	lacksAttr(t, pacetest.WantTrace(spans, 1, pacetest.Path("/first")).Clients[0].Attrs, "pace.pick.reason")
	wantStatus(t, p.Get("/once", "Cookie", value), 200)
	wantAttr(t, pacetest.WantTrace(spans, 1, pacetest.Path("/once")).Clients[0].Attrs, "pace.pick.reason", "sticky")
	if got := p.Get("/forged", "Cookie", "at=0000000000000000"); got.Header.Get("Set-Cookie") == "" {
		t.Error("a client with an unknown value gets no cookie")
	}

	for _, b := range backends {
		if b.Name() == home {
			b.Kill()
		}
	}
	moved := p.Get("/moved", "Cookie", value)
	wantStatus(t, moved, 200)
	if now := moved.Header.Get("Set-Cookie"); now == "" || now == cookie {
		t.Errorf("after a failover the client gets %q", now)
	}
	clients := pacetest.WantTrace(spans, 1, pacetest.Path("/moved")).Clients
	wantAttr(t, clients[0].Attrs, "pace.pick.reason", "sticky")
	wantAttr(t, clients[1].Attrs, "pace.pick.reason", "failover")
}
