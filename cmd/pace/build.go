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
		PlanOptions: buildPlan(f, t.telemetry),
	}
	return proxy.NewHandler(o)
}

func buildPlan(f *config.File, t *telemetry.Telemetry) proxy.PlanOptions {
	form := f.InLongForm()
	u := form.Upstreams[0] // the short form has one
	return proxy.PlanOptions{
		Upstream:   u.Name,
		Pool:       buildPool(u.Backends),
		MaxRetries: u.MaxRetries,
		Exchange: http1.Options{
			ConnectTimeout:  u.ConnectTimeout,
			ResponseTimeout: u.ResponseTimeout,
			MaxHeaderBytes:  u.MaxResponseHeaderBytes,
			MaxIdle:         u.MaxIdlePerBackend,
			IdleTimeout:     u.IdleTimeout,
		},
		Limit:        buildLimit(form.Limits, t),
		Trusted:      f.Server.TrustedProxies,
		MaxBodyBytes: f.Server.MaxBodyBytes,
		BodyTimeout:  f.Server.BodyTimeout,
		ProxyName:    f.Headers.ProxyName,
		ProxyValue:   f.Headers.ProxyValue,
		BackendName:  f.Headers.BackendName,
		TraceName:    f.Tracing.ResponseHeader,
		TimingAllow:  f.ServerTiming.Allow,
		Slow:         f.Tracing.Keep.Slow,
	}
}

func buildPool(backends []config.Backend) *lb.Pool {
	addresses := make([]string, len(backends))
	for i, b := range backends {
		addresses[i] = b.Address
	}
	return lb.NewPool(addresses)
}

// buildLimit returns the first of the limits, of which the short form has at most one; nil if there is none.
func buildLimit(limits []config.Limit, t *telemetry.Telemetry) *proxy.Limit {
	if len(limits) == 0 {
		return nil
	}
	l := limits[0]
	per := time.Duration(l.WindowSeconds) * time.Second
	w := limiter.NewWindow(limiter.Options{Max: l.MaxRequests, Per: per, MaxKeys: l.MaxKeys})
	t.WatchLimiters(map[string]telemetry.LimiterState{l.Name: {Keys: w.Keys, Evicted: w.Evicted}})
	return &proxy.Limit{Policy: l.Name, Key: l.KeyExtractor, Window: w, Per: per}
}

func buildServer(f *config.File, p *parts) *front.Server {
	return proxy.NewServer(proxy.ServerOptions{
		Handler:  p.handler,
		Settings: frontSettings(f, p.observed),
		Trust:    f.Tracing.Trust,
		OnSlow:   p.logSlow,
	})
}

func frontSettings(f *config.File, o observed) front.Settings {
	s := front.Settings{
		ReadHeaderTimeout: f.Server.ReadHeaderTimeout,
		IdleTimeout:       f.Server.IdleTimeout,
		DeliverTimeout:    f.Server.DeliverTimeout,
		MaxHeaderBytes:    f.Server.MaxHeaderBytes,
		SlowAfter:         f.Log.SlowAfter,
	}
	if f.Metrics.Endpoint != "" {
		s.Scrape = &front.Scrape{Path: f.Metrics.Endpoint, Metrics: o.scrape(), Allow: f.Metrics.Allow}
	}
	return s
}
