package server

import (
	"pace/cmd/pace/vet"
	"pace/config"
	"pace/proxy"
	"pace/proxy/action"
	"pace/proxy/message"
	"pace/proxy/mirror"
	"pace/telemetry"
)

// buildRoutes returns the routes with the upstreams and limits that they name.
func buildRoutes(routes []config.Route, of standing) []proxy.Route {
	built := make([]proxy.Route, len(routes))
	entries := vet.Entries(routes)
	for i, r := range routes {
		built[i] = proxy.Route{
			Entry:           entries[i],
			Action:          actions[r.Action()](r, of),
			Prefixes:        message.Prefixes{Strip: r.StripPrefix, Add: r.AddPrefix},
			Host:            r.Host,
			RequestHeaders:  vet.RuleOptions(r.RequestHeaders),
			ResponseHeaders: vet.RuleOptions(r.ResponseHeaders),
			Allow:           r.Allow,
			Deny:            r.Deny,
			Timeout:         r.Timeout,
			BodyTimeout:     r.BodyTimeout,
			MaxBodyBytes:    r.MaxBodyBytes,
			Slow:            r.Slow,
			SampleRatio:     r.SampleRatio,
			Lines:           telemetry.LineRuleOf(r.Log),
		}
		if r.Mirror != "" {
			built[i].Mirror = mirror.New(of.upstreams[r.Mirror].to, r.MirrorShare)
		}
		if r.ResponseTimeout != nil {
			built[i].ResponseTimeout = *r.ResponseTimeout
		}
		for _, name := range r.Limits {
			built[i].Limits = append(built[i].Limits, of.limits[name].to)
		}
	}
	return built
}

// actions has the function that builds an action, for each key of an action. A route has exactly one such key.
var actions = map[string]func(config.Route, standing) action.Action{
	"upstream": func(r config.Route, of standing) action.Action { return action.To(of.upstreams[r.Upstream].to) },
	"split":    buildSplit,
	"redirect": buildRedirect,
	"respond":  func(r config.Route, _ standing) action.Action { return action.Respond(r.Respond, r.Body) },
}

func buildSplit(r config.Route, of standing) action.Action {
	shares := make([]action.Share, len(r.Split))
	for i, s := range r.Split {
		shares[i] = action.Share{Upstream: of.upstreams[s.Upstream].to, Weight: s.Weight}
	}
	return action.Split(shares, r.SplitBy)
}

func buildRedirect(r config.Route, _ standing) action.Action {
	to, p := vet.Redirect(r)
	return action.Redirect(to, p, r.Status)
}
