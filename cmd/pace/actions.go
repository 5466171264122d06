package main

import (
	"pace/config"
	"pace/proxy/action"
	"pace/proxy/route"
)

// actions has, for each key of which a route has exactly one, what makes the action of it.
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

// buildRedirect makes a redirect, which routeFaults has checked.
func buildRedirect(r config.Route, _ standing) action.Action {
	p, bad := route.Parse(r.Match)
	if bad == nil {
		var to *route.Redirect
		if to, bad = route.ParseRedirect(r.Redirect, p); bad == nil {
			return action.Redirect(to, p, r.Status)
		}
	}
	panic("pace: BUG: a redirect that was not checked: " + bad.Error())
}
