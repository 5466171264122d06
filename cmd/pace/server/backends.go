package server

import (
	"context"
	"log/slog"

	"pace/config"
	"pace/lb/health"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// buildRules returns what changes the state of a backend.
func buildRules(u config.Upstream) health.Rules {
	e := u.Ejection
	r := health.Rules{
		Ejection: health.Ejection{
			Enabled:             e.Enabled,
			ConsecutiveFailures: e.ConsecutiveFailures,
			FailureShare:        e.FailureShare,
			MinRequests:         e.MinRequests,
			Window:              e.Window,
			Base:                e.Base,
			Max:                 e.Max,
		},
		SlowStart: u.SlowStart,
	}
	if h := u.Health; h != nil {
		r.Checked, r.Fall, r.Rise = true, h.Fall, h.Rise
	}
	return r
}

// logState returns the function that logs each change of state of a backend, with the reason that the event, the API
// and whoever caused it have.
func logState(log *slog.Logger) func(upstream.Change) {
	return func(c upstream.Change) {
		level := slog.LevelInfo
		if !c.To.MayBePicked() && c.By != health.Operator {
			level = slog.LevelWarn
		}
		log.LogAttrs(context.Background(), level, "backend state",
			slog.String("upstream", c.Upstream), slog.String("backend", c.Backend.Addr),
			slog.String("from", c.From.String()), slog.String("to", c.To.String()),
			slog.String("reason", c.Reason), slog.String("by", c.By.String()))
	}
}

// backends returns the backends for the metrics.
func (s standing) backends() (list []telemetry.BackendState) {
	for name, u := range s.upstreams {
		for _, m := range u.to.Members() {
			list = append(list, telemetry.BackendState{
				Upstream: name, Host: m.Host, Port: m.Port, InFlight: m.InFlight(), Open: m.Connections, Idle: m.Idle(),
				Up: m.State.MayBePicked(), Changes: m.Changes[:],
			})
		}
	}
	return list
}

// pools returns the upstreams for the metrics.
func (s standing) pools() map[string]telemetry.UpstreamState {
	of := map[string]telemetry.UpstreamState{}
	for name, u := range s.upstreams {
		of[name] = telemetry.UpstreamState{Checks: u.to.Checks, PanicPicks: u.to.PanicPicks}
	}
	return of
}
