package main

import (
	"context"
	"time"

	"pace/config"
	"pace/lb"
	"pace/limiter"
	"pace/proxy"
	"pace/proxy/front"
	"pace/proxy/transport/http1"
	"pace/telemetry"
)

// poolName and limitName name the one pool and the one limit of the short form, [upstreams] and
// [rate_limit].
const (
	poolName  = "default"
	limitName = "default"
)

// parts are all that is built from one configuration.
type parts struct {
	observed
	handler *proxy.Handler
	server  *front.Server
	hosts   hosts // of the admin listener
}

// build makes the parts from f. It opens the log, but no listener.
func build(ctx context.Context, f *config.File) (*parts, error) {
	o, err := buildSignals(ctx, f)
	if err != nil {
		return nil, err
	}
	p := &parts{observed: o, handler: buildHandler(f, o), hosts: ownHosts(f.Admin)}
	p.server = buildServer(f, p)
	return p, nil
}

func buildHandler(f *config.File, t observed) *proxy.Handler {
	o := proxy.Options{
		Telemetry: t.telemetry, Log: t.log.Logger, InFlight: new(front.InFlight),
		DeliverTimeout: f.Server.DeliverTimeout,
		PlanOptions:    buildPlan(f, t.telemetry),
	}
	return proxy.NewHandler(o)
}

func buildPlan(f *config.File, t *telemetry.Telemetry) proxy.PlanOptions {
	return proxy.PlanOptions{
		Upstream:   poolName,
		Pool:       lb.NewPool(f.Upstreams.Backends),
		MaxRetries: f.Upstreams.MaxRetries,
		Exchange: http1.Options{
			ConnectTimeout:  f.Upstreams.ConnectTimeout,
			ResponseTimeout: f.Upstreams.ResponseTimeout,
			MaxHeaderBytes:  f.Upstreams.MaxResponseHeaderBytes,
			MaxIdle:         f.Upstreams.MaxIdlePerBackend,
			IdleTimeout:     f.Upstreams.IdleTimeout,
		},
		Limit:        buildLimit(f, t),
		Trusted:      f.Server.TrustedProxies,
		MaxBodyBytes: f.Server.MaxBodyBytes,
		BodyTimeout:  f.Server.BodyTimeout,
		ProxyName:    f.Headers.ProxyName,
		ProxyValue:   f.Headers.ProxyValue,
		BackendName:  f.Headers.BackendName,
		TraceName:    f.Tracing.ResponseHeader,
		TimingAllow:  f.ServerTiming.Allow,
	}
}

func buildLimit(f *config.File, t *telemetry.Telemetry) *proxy.Limit {
	if f.RateLimit == nil || !f.RateLimit.Enabled {
		return nil
	}
	per := time.Duration(f.RateLimit.WindowSeconds) * time.Second
	w := limiter.NewWindow(limiter.Options{Max: f.RateLimit.MaxRequests, Per: per, MaxKeys: f.RateLimit.MaxKeys})
	t.WatchLimiters(map[string]telemetry.LimiterState{limitName: {Keys: w.Keys, Evicted: w.Evicted}})
	return &proxy.Limit{Policy: limitName, Window: w, Per: per}
}

func buildServer(f *config.File, p *parts) *front.Server {
	o := proxy.ServerOptions{
		Handler:           p.handler,
		ReadHeaderTimeout: f.Server.ReadHeaderTimeout,
		IdleTimeout:       f.Server.IdleTimeout,
		MaxHeaderBytes:    f.Server.MaxHeaderBytes,
		Trust:             f.Tracing.Trust,
	}
	if f.Metrics.Endpoint != "" {
		o.Scrape = &front.Scrape{Path: f.Metrics.Endpoint, Metrics: p.scrape(), Allow: f.Metrics.Allow}
	}
	return proxy.NewServer(o)
}
