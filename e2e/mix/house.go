package mix

import (
	"crypto/tls"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/wiretap"
)

const (
	maxBody = 100_000 // server.max_body_bytes of the house main
	quota   = 3       // rate_limit.max_requests of the house main

	serverName = "pace.test" // that clients ask for over TLS

	slowAfter = 3 * time.Second // tracing.keep.slow of the house slow
	recent    = 40_000          // tracing.keep.recent of all houses: more than a mix has
)

// house is one pace with its backends and its configuration. A mix needs several houses, because some
// outcomes need settings or backends that would disturb the other outcomes.
type house struct {
	*pacetest.Pace
	name     string
	unseen   map[string]ending // addresses where attempts fail before a backend sees them, and how
	wired    []string          // addresses whose traffic is recorded: some attempts reach no backend there
	backends int               // how many there are
	quota    int               // rate_limit.max_requests, 0: no limit

	secure     string       // host:port where it speaks TLS; "": nowhere
	handshakes atomic.Int64 // that clients have completed with it
}

// plan describes a house that has not been started yet.
type plan struct {
	name     string
	cfg      pacetest.Config
	backends []backendKind
	quota    int
}

// backendKind is the behaviour of a house's backend.
type backendKind int

const (
	scriptedBackend backendKind = iota // does what the exchange's kind says
	closedBackend                      // refuses connections
	farBackend                         // does not respond to a SYN
	fickleBackend                      // as scripted, and closes connections at bad moments
	crashingBackend                    // a process that is killed and comes back; see crash
)

func plans() []plan {
	return []plan{
		{"main", pacetest.Config{
			"server":     {"max_body_bytes": maxBody, "drain_timeout": "2m", "read_header_timeout": "1m"},
			"rate_limit": {"max_requests": quota, "window_seconds": 3600},
		}, []backendKind{scriptedBackend, scriptedBackend, scriptedBackend}, quota}, // one may be ejected, and two are left
		{"strict", pacetest.Config{"upstreams": {"response_timeout": "300ms"}}, []backendKind{scriptedBackend, scriptedBackend}, 0},
		{"patient", pacetest.Config{"upstreams": {"response_timeout": "2s"}}, []backendKind{scriptedBackend, scriptedBackend}, 0},
		{"brief", pacetest.Config{"server": {"body_timeout": "500ms", "read_header_timeout": "5s"}}, []backendKind{scriptedBackend}, 0},
		{"lone", pacetest.Config{}, []backendKind{scriptedBackend}, 0},
		{"fickle", pacetest.Config{}, []backendKind{fickleBackend}, 0},
		{"half", pacetest.Config{}, []backendKind{closedBackend, scriptedBackend}, 0},
		{"dead", pacetest.Config{}, []backendKind{closedBackend, closedBackend}, 0},
		{"far", pacetest.Config{"upstreams": {"connect_timeout": "150ms"}}, []backendKind{farBackend, farBackend}, 0},
		{"halffar", pacetest.Config{"upstreams": {"connect_timeout": "500ms"}}, []backendKind{farBackend, scriptedBackend}, 0},
		{"crashing", pacetest.Config{}, []backendKind{crashingBackend, crashingBackend}, 0},
		{"slow", pacetest.Config{"tracing.keep": {"slow": slowAfter.String()}}, []backendKind{scriptedBackend}, 0},
	}
}

// address is anything that has an address, host:port.
type address = interface{ Address() string }

// build starts the houses with these names; nil means all. The recording of the traffic begins before
// any pace starts.
func (mx *Mix) build(names []string) {
	wanted := slices.DeleteFunc(plans(), func(p plan) bool { return names != nil && !slices.Contains(names, p.name) })
	backends := make([][]address, len(wanted))
	var watched []address
	for i, p := range wanted {
		for _, k := range p.backends {
			b := mx.start(k)
			backends[i] = append(backends[i], b)
			if k != scriptedBackend {
				watched = append(watched, b)
			}
		}
	}
	if watched != nil {
		mx.tap = wiretap.Open(mx.t, watched...)
	}
	for i, p := range wanted {
		mx.houses[p.name] = mx.startPace(p, backends[i])
	}
}

// start starts a backend.
func (mx *Mix) start(k backendKind) address {
	switch k {
	case closedBackend:
		return pacetest.NewClosed(mx.t)
	case farBackend:
		return pacetest.NewBlackhole(mx.t)
	case crashingBackend:
		c := startCrasher(mx.t)
		mx.crashers = append(mx.crashers, c)
		return c
	case scriptedBackend:
		if mx.random.Float64() < mx.sealed {
			b := mx.Backend(mx.ca.Server("127.0.0.1"))
			mx.https[b.Address()] = true
			return b
		}
	}
	return mx.Backend(nil)
}

// url is how a configuration and a span name the backend at address.
func (mx *Mix) url(address string) string {
	if mx.https[address] {
		return "https://" + address
	}
	return "http://" + address
}

// startPace starts the pace of a house.
func (mx *Mix) startPace(p plan, backends []address) *house {
	h := &house{name: p.name, unseen: map[string]ending{}, backends: len(backends), quota: p.quota}
	pool := pacetest.Table{"connect_timeout": "30s"} // where it is not what is tested, a busy machine must not exceed it
	for i, b := range backends {
		switch p.backends[i] {
		case closedBackend:
			h.unseen[b.Address()] = ending{failure: "connect_failed"}
		case farBackend:
			h.unseen[b.Address()] = ending{failure: "connect_timeout"}
		case crashingBackend:
			h.unseen[b.Address()] = ending{failure: "connect_failed"}
			h.wired = append(h.wired, b.Address())
		case fickleBackend:
			h.wired = append(h.wired, b.Address())
		}
		urls, _ := pool["backends"].([]string)
		pool["backends"] = append(urls, mx.url(b.Address()))
	}
	if mx.sealed > 0 {
		p.cfg["upstreams.tls"] = pacetest.Table{"ca": mx.ca.File()}
	}
	maps.Copy(pool, p.cfg["upstreams"])
	server := pacetest.Table{"trusted_proxies": []string{"127.0.0.1/32"}} // the clients say by X-Forwarded-For who they are
	maps.Copy(server, p.cfg["server"])
	p.cfg["upstreams"], p.cfg["server"] = pool, server
	p.cfg["upstreams.retry"] = pacetest.Table{"on": append(h.repeated(), failoverReasons...), "budget": 1.0}
	p.cfg["log"] = pacetest.Table{"file": filepath.Join(mx.t.TempDir(), "log"), "slow_after": "0s"}
	// Only in the house slow, the script says which exchanges are slow. The test looks for each trace that pace must keep.
	keep := pacetest.Table{"slow": "0s", "per_second": 0, "per_reason": 0, "recent": recent}
	maps.Copy(keep, p.cfg["tracing.keep"])
	p.cfg["tracing.keep"] = keep
	if mx.ratio > 0 {
		p.cfg["tracing"] = pacetest.Table{"sample_ratio": mx.ratio}
	}
	if mx.ca != nil {
		p.cfg["listener.clear"] = pacetest.Table{"listen": "127.0.0.1:0"}
		p.cfg["listener.secure"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true, "http3": mx.mode == pacetest.H3}
		p.cfg["certificate[0]"] = mx.ca.Issue(serverName).Table()
	}
	h.Pace = pacetest.Start(mx.t, p.cfg, "OTEL_SERVICE_NAME="+p.name, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment.name=e2e",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://"+mx.collector, "OTEL_BSP_SCHEDULE_DELAY=20", "OTEL_BSP_MAX_QUEUE_SIZE=100000")
	if mx.ca != nil {
		h.secure = h.Listeners[1]
	}
	return h
}

// repeated are the statuses after which another backend is asked.
func (h *house) repeated() []string {
	if h.name == "patient" {
		return []string{"503"}
	}
	return nil
}

// Backend starts a backend that records each attempt before it does what the exchange's kind says. over may be nil: it
// speaks no TLS.
func (mx *Mix) Backend(over *tls.Config) *pacetest.Backend {
	var address string
	known := make(chan struct{})
	b := pacetest.NewTLSBackend(mx.t, over, func(p *pacetest.Exchange) {
		<-known
		mx.serve(address, p)
	})
	address = b.Address()
	close(known)
	return b
}

func (mx *Mix) serve(backend string, p *pacetest.Exchange) {
	path, _, _ := strings.Cut(p.Target, "?")
	x := mx.byPath[path]
	if x == nil || x.serve == nil {
		mx.t.Errorf("%s got a request that was not for it: %s %s", backend, p.Method, p.Target)
		p.Close()
		return
	}
	a := attempt{backend: backend, nth: p.Nth, requestID: p.Header.Get("X-Request-Id"), body: -1}
	a.trace, a.span, a.flags = pacetest.Traceparent(p.Header.Get("Traceparent"))
	if !x.unread {
		if p.ReadBody(); p.BodyErr == nil {
			a.body = len(p.Body)
		}
	}
	x.mu.Lock()
	nth := len(x.attempts)
	end, act := x.serve(x, nth, p)
	a.ending = end
	x.attempts = append(x.attempts, a)
	x.mu.Unlock()
	if !x.unread {
		x.ready()
	}
	act(x, p)
}
