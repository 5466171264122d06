package server

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"pace/cmd/pace/match"
	"pace/config"
	"pace/config/show"
	adminapi "pace/proxy/admin"
	"pace/proxy/upstream"
	"pace/telemetry"
)

// apiOptions returns what the API shows and changes, under a token.
func (r *reloader) apiOptions(token string) adminapi.Options {
	return adminapi.Options{
		Log:       r.parts.log.Logger,
		Token:     token,
		Config:    r.shownConfig,
		Routes:    r.shownRoutes,
		Match:     r.shownMatch,
		Upstreams: r.shownUpstreams,
		Reload:    func(by string) adminapi.Reload { return r.reload(by).shown() },
		SetLevel: func(l slog.Level, d time.Duration, ended func(slog.Level)) {
			r.parts.log.SetLevelFor(l, d, ended)
		},
	}
}

func (d reloaded) shown() adminapi.Reload {
	return adminapi.Reload{At: d.At, Result: d.Result.String(), Changes: d.Changes, Faults: append([]string{}, d.Faults...)}
}

func (r *reloader) shownConfig() adminapi.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	return adminapi.Config{
		File: r.file, SHA256: r.inForce.SHA256, LoadedAt: r.loadedAt, LastReload: r.last.shown(), Config: show.Values(&r.inForce.Config),
	}
}

// current returns the configuration in force, in the long form.
func (r *reloader) current() config.LongForm {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inForce.InLongForm()
}

func (r *reloader) shownRoutes() []adminapi.Route {
	routes := r.current().Routes
	list := []adminapi.Route{}
	for _, t := range match.Table(routes).Routes() {
		one := routes[t.Index]
		when := map[string]string{}
		for _, f := range one.When {
			when[f.Name] = f.Shown()
		}
		list = append(list, adminapi.Route{Name: one.Name, Match: one.Match, When: when, Action: shownAction(one)})
	}
	return list
}

// shownAction says what a route does with its requests.
func shownAction(t config.Route) string {
	switch {
	case t.Redirect != "":
		return fmt.Sprintf("redirect %d to %s", t.Status, t.Redirect)
	case t.Respond != 0:
		return "respond " + strconv.Itoa(t.Respond)
	case t.Upstream != "":
		return "upstream " + t.Upstream
	}
	action := []string{"split"}
	for _, s := range t.Split {
		action = append(action, s.Upstream, strconv.Itoa(s.Weight))
	}
	return strings.Join(action, " ")
}

func (r *reloader) shownMatch(method, url string, header []string) (adminapi.Match, error) {
	request, target, err := match.Request(method, url, header)
	if err != nil {
		return adminapi.Match{}, err
	}
	routes := r.current().Routes
	m := match.Of(routes, match.Table(routes), request, target)
	shown := adminapi.Match{Route: m.Route, Outcome: m.Outcome, Upstream: m.Upstream, BackendPath: m.BackendPath, Limits: m.Limits, Others: []adminapi.Other{}}
	for _, o := range m.Others {
		shown.Others = append(shown.Others, adminapi.Other{Route: o.Route, Why: o.Why})
	}
	return shown, nil
}

func (r *reloader) shownUpstreams() []adminapi.Upstream {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := []adminapi.Upstream{}
	for _, u := range r.inForce.InLongForm().Upstreams {
		one := adminapi.Upstream{Name: u.Name, Policy: u.Policy, Backends: []adminapi.Backend{}}
		for _, m := range r.parts.standing.upstreams[u.Name].to.Members() {
			one.Backends = append(one.Backends, shownBackend(m))
		}
		list = append(list, one)
	}
	return list
}

func shownBackend(m upstream.Member) adminapi.Backend {
	b := adminapi.Backend{
		Address: m.Addr, State: m.State.String(), Reason: m.Reason, Since: m.Since,
		Weight: m.Weight, Active: m.InFlight(), Connections: m.Connections,
	}
	if c := m.LastCheck; c != nil {
		b.LastCheck = &adminapi.Check{
			At: c.At, Passed: c.Passed, Status: c.Status, DurationMS: telemetry.Milliseconds(c.Duration), Error: c.Error,
		}
	}
	return b
}
