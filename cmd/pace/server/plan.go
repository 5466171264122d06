package server

import (
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/lb"
	"pace/limiter"
	"pace/proxy"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
	"pace/proxy/upstream"
	"pace/proxy/upstream/check"
	"pace/telemetry"
)

// standing has what a reload keeps: an upstream or a limit whose configuration has not changed stays the same
// value, with its connections and its counts.
type standing struct {
	upstreams map[string]built[upstreamConfig, *upstream.Upstream]
	limits    map[string]built[config.Limit, *proxy.Limit]
}

// upstreamConfig is all that the configuration says of an upstream.
type upstreamConfig struct {
	config.Upstream
	files string // the digest of the files that it names
}

// built is a value that was built from a part of the configuration, together with that part.
type built[From, To any] struct {
	from From
	to   To
}

// reuse returns the value under a name if its part of the configuration has not changed. Otherwise it calls
// build with that value, or nil if there is none.
func reuse[From, To any](stands map[string]built[From, *To], name string, from From, build func(From, *To) *To) built[From, *To] {
	b := stands[name]
	if b.to != nil && reflect.DeepEqual(b.from, from) {
		return b
	}
	return built[From, *To]{from, build(from, b.to)}
}

// buildPlan returns the plan for f, and reuses the values in standing. It changes nothing. files are of each upstream.
func buildPlan(f *config.File, files map[string]vet.TLSFiles, last standing, log *slog.Logger) (proxy.PlanOptions, standing) {
	form := f.InLongForm()
	next := standing{map[string]built[upstreamConfig, *upstream.Upstream]{}, map[string]built[config.Limit, *proxy.Limit]{}}
	for _, u := range form.Upstreams {
		u.Key = "" // its position in the file does not matter
		of := files[u.Name]
		next.upstreams[u.Name] = reuse(last.upstreams, u.Name, upstreamConfig{u, of.Digest}, func(u upstreamConfig, before *upstream.Upstream) *upstream.Upstream {
			return buildUpstream(u.Upstream, of, before, log)
		})
	}
	for _, l := range form.Limits {
		l.Key = ""
		next.limits[l.Name] = reuse(last.limits, l.Name, l, buildLimit)
	}
	o := proxy.PlanOptions{
		Routes:       buildRoutes(form.Routes, next),
		Upstreams:    slices.Sorted(maps.Keys(next.upstreams)),
		Trusted:      f.Server.TrustedProxies,
		TraceTrust:   f.Tracing.Trust,
		MaxBodyBytes: f.Server.MaxBodyBytes,
		BodyTimeout:  f.Server.BodyTimeout,
		ProxyName:    f.Headers.ProxyName,
		ProxyValue:   f.Headers.ProxyValue,
		BackendName:  f.Headers.BackendName,
		TraceName:    f.Tracing.ResponseHeader,
		TimingAllow:  f.ServerTiming.Allow,
		Slow:         f.Tracing.Keep.Slow,
	}
	return o, next
}

// closeWithout closes the values that next does not have. Requests that still use them continue.
func (s standing) closeWithout(next standing) {
	for name, u := range s.upstreams {
		if next.upstreams[name].to != u.to {
			u.to.Close()
		}
	}
}

// limiters returns the limits for the metrics.
func (s standing) limiters() map[string]telemetry.LimiterState {
	of := map[string]telemetry.LimiterState{}
	for name, l := range s.limits {
		of[name] = telemetry.LimiterState{Keys: l.to.Window.Keys, Evicted: l.to.Window.Evicted}
	}
	return of
}

// buildUpstream makes an upstream. It takes over from before, which may be nil, the backends that stay the same.
func buildUpstream(u config.Upstream, files vet.TLSFiles, before *upstream.Upstream, log *slog.Logger) *upstream.Upstream {
	return upstream.New(upstream.Options{
		Name:      u.Name,
		Addresses: buildAddresses(u.Backends),
		Resolve:   u.Resolve,
		Log:       log,
		OnChange:  logState(log),

		Retry: upstream.RetryOptions{
			On:        append([]string{}, u.Retry.On...), // none is not nil
			Failovers: u.MaxRetries,
			Budget:    u.Retry.Budget,
			Backoff:   u.Retry.Backoff,
			MaxKept:   u.Retry.MaxKeptBytes,
		},

		Policy:       lb.PolicyOf(u.Policy),
		HashBy:       upstream.ParseBy(u.HashBy),
		StickyCookie: u.StickyCookie,

		MaxRequests:    u.MaxRequests,
		MaxConnections: u.MaxConnections,
		DrainStreams:   u.DrainStreams,

		Health:   buildRules(u),
		MaxShare: u.Ejection.MaxShare,
		Checks:   buildChecks(u.Health),

		Transport: http1.Options{
			ConnectTimeout:  u.ConnectTimeout,
			ResponseTimeout: u.ResponseTimeout,
			BodyTimeout:     u.BodyTimeout,
			MaxHeaderBytes:  u.MaxResponseHeaderBytes,
			MaxIdle:         u.MaxIdlePerBackend,
			IdleTimeout:     u.IdleTimeout,
		},
		TLS: &dial.TLS{
			ServerName:   u.TLS.ServerName,
			Roots:        files.Roots,
			Certificates: files.Certificates,
			Unverified:   !u.TLS.Verify,
			Files:        files.Digest,
		},
	}, before)
}

// buildChecks returns how backends are checked. h is nil if they are not.
func buildChecks(h *config.Health) upstream.Checks {
	if h == nil {
		return upstream.Checks{}
	}
	statuses, err := check.ParseStatuses(h.Status)
	if err != nil {
		panic("pace: BUG: package config accepted a status: " + err.Error())
	}
	return upstream.Checks{
		Port: h.Port,
		Options: check.Options{
			Type: h.Type, Path: h.Path, Host: h.Host, Statuses: statuses, Interval: h.Interval, Timeout: h.Timeout,
		},
	}
}

func buildAddresses(backends []config.Backend) []upstream.Address {
	addresses := make([]upstream.Address, len(backends))
	for i, b := range backends {
		addresses[i] = upstream.Address{Scheme: b.Scheme, Addr: b.Address, Weight: b.Weight}
		if b.Scheme == unix {
			addresses[i].Network, addresses[i].Scheme = unix, upstream.HTTP
		}
	}
	return addresses
}

const unix = "unix" // both the scheme of a backend that is a socket in the file system, and its network

func buildLimit(l config.Limit, _ *proxy.Limit) *proxy.Limit {
	per := time.Duration(l.WindowSeconds) * time.Second
	w := limiter.NewWindow(limiter.Options{Max: l.MaxRequests, Per: per, MaxKeys: l.MaxKeys})
	return &proxy.Limit{Policy: l.Name, Key: l.KeyExtractor, Window: w, Per: per}
}
