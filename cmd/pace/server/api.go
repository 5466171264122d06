package server

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
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
		Order:     r.order,
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
		File: r.file, SHA256: r.inForce.SHA256, LoadedAt: r.loadedAt, LastReload: r.last.shown(), Config: show.Values(r.inForce),
	}
}

// current returns the configuration in force.
func (r *reloader) current() *config.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inForce
}

func (r *reloader) shownRoutes() []adminapi.Route {
	f := r.current()
	routes := f.InLongForm().Routes
	list := []adminapi.Route{}
	for _, t := range match.Table(routes).Routes() {
		one := routes[t.Index]
		when := map[string]string{}
		for _, f := range one.When {
			when[f.Name] = f.Shown()
		}
		list = append(list, adminapi.Route{
			Name: f.Masked(one.Name), Match: f.Shown(one.Key+".match", one.Match), When: when, Action: f.Masked(shownAction(one)),
		})
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
	f := r.current()
	routes := f.InLongForm().Routes
	m := match.Of(routes, match.Table(routes), request, target)
	shown := adminapi.Match{
		Route: masked(f, m.Route), Outcome: m.Outcome, Upstream: m.Upstream, BackendPath: masked(f, m.BackendPath), Limits: m.Limits, Others: []adminapi.Other{},
	}
	for _, o := range m.Others {
		shown.Others = append(shown.Others, adminapi.Other{Route: f.Masked(o.Route), Why: f.Masked(o.Why)})
	}
	return shown, nil
}

// masked returns a text without the secrets of f; nil if there is none.
func masked(f *config.File, text *string) *string {
	if text == nil {
		return nil
	}
	return new(f.Masked(*text))
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
		Address: m.Addr, Scheme: m.Scheme(), State: m.State.String(), Reason: m.Reason, Since: m.Since,
		Weight: m.Weight, Active: m.InFlight(), Connections: m.Connections,
	}
	if c := m.LastCheck; c != nil {
		b.LastCheck = &adminapi.Check{
			At: c.At, Passed: c.Passed, Status: c.Status, DurationMS: telemetry.Milliseconds(c.Duration), Error: c.Error,
		}
	}
	return b
}

// order carries out what an operator wants of a backend.
func (r *reloader) order(o adminapi.BackendOrder) (adminapi.Backend, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	u := r.parts.standing.upstreams[o.Upstream].to
	if u == nil {
		return adminapi.Backend{}, fmt.Errorf("there is no upstream %q; write one of %s", o.Upstream, listed(slices.Sorted(maps.Keys(r.parts.standing.upstreams))))
	}
	m, ok := u.Command(o.Address, orderOf(o.Order), o.By)
	if !ok {
		var addresses []string
		for _, m := range u.Members() {
			addresses = append(addresses, m.Addr)
		}
		return adminapi.Backend{}, fmt.Errorf("%s has no backend %q; write one of %s", o.Upstream, o.Address, listed(addresses))
	}
	return shownBackend(m), nil
}

// orderOf returns the order of this word. It is one that package admin has a call for.
func orderOf(word string) upstream.Order {
	for o := range upstream.OrderCount {
		if o.String() == word {
			return o
		}
	}
	panic("pace: BUG: unknown order: " + word)
}

// maxListed is how many names a message lists.
const maxListed = 10

func listed(names []string) string {
	if n := len(names) - maxListed; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:maxListed], ", "), n)
	}
	return strings.Join(names, ", ")
}
