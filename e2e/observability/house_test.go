package observability

import (
	"fmt"
	"maps"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
	"pace/e2e/wiretap"
)

// house is one pace and the world around it. A mix needs several, since some outcomes need settings
// or backends that would harm all others.
type house struct {
	*pacetest.Pace
	name    string
	service string            // its OTEL_SERVICE_NAME
	closed  map[string]ending // addresses of backends that are not there, and how attempts at them end
	tap     *wiretap.Tap      // at all backends
}

const (
	maxBody = 100_000 // server.max_body_bytes of the house main
	places  = 3       // rate_limit.max_requests of the house main
)

// village is all houses of one mix.
type village struct {
	t      testing.TB
	seed   uint64
	jaeger *parts.Jaeg
	ledger *ledger
	houses map[string]*house
}

// open starts all houses.
func (v *village) open() {
	v.t.Helper()
	v.houses = map[string]*house{}
	v.build("main", pacetest.Config{
		"server":     {"max_body_bytes": maxBody},
		"rate_limit": {"max_requests": places, "window_seconds": 3600},
	}, v.backend(), v.backend())
	v.build("strict", pacetest.Config{"upstreams": {"response_timeout": "200ms"}}, v.backend(), v.backend())
	v.build("brief", pacetest.Config{"server": {"body_timeout": "200ms"}}, v.backend())
	v.build("lone", pacetest.Config{}, v.backend())
	v.build("half", pacetest.Config{}, pacetest.NewClosed(v.t), v.backend())
	v.build("dead", pacetest.Config{}, pacetest.NewClosed(v.t), pacetest.NewClosed(v.t))
	v.build("far", pacetest.Config{"upstreams": {"connect_timeout": "150ms"}}, pacetest.NewBlackhole(v.t), pacetest.NewBlackhole(v.t))
}

func (v *village) backend() *pacetest.Backend { return v.ledger.backend(v.t, behaviours()) }

func (v *village) build(name string, cfg pacetest.Config, backends ...interface{ Address() string }) {
	v.t.Helper()
	h := &house{name: name, service: fmt.Sprintf("pace-%s-%d", name, v.seed), closed: map[string]ending{}}
	for _, b := range backends {
		switch b.(type) {
		case *pacetest.Closed:
			h.closed[b.Address()] = ending{0, "connect_failed"}
		case *pacetest.Blackhole:
			h.closed[b.Address()] = ending{0, "connect_timeout"}
		}
	}
	h.tap = wiretap.Open(v.t, backends...)
	pool := pacetest.Upstreams(backends...)
	maps.Copy(pool, cfg["upstreams"])
	server := pacetest.Table{"trusted_proxies": []string{"127.0.0.1/32"}} // the clients say by X-Forwarded-For who they are
	maps.Copy(server, cfg["server"])
	cfg["upstreams"], cfg["server"] = pool, server
	h.Pace = pacetest.Start(v.t, cfg, exportTo(v.jaeger, h.service)...)
	v.houses[name] = h
}

// exportTo is the environment of a pace whose spans go to jaeger.
func exportTo(jaeger *parts.Jaeg, service string) []string {
	return []string{
		"OTEL_SERVICE_NAME=" + service,
		"OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=e2e",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://" + jaeger.GRPC,
		"OTEL_BSP_SCHEDULE_DELAY=100",
	}
}

// missed counts the attempts at the house's closed backends, as the wire saw them.
func (h *house) missed() map[string]int {
	counts := map[string]int{}
	for address, end := range h.closed {
		wire := h.tap.At(address)
		if end.failure == "connect_failed" {
			counts[address] = wire.Refused
		} else {
			counts[address] = wire.SYNs
		}
	}
	return counts
}
