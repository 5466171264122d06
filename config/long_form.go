package config

import (
	"iter"
	"slices"
)

// LongForm is what a file means, whichever form it is written in: everything that can have a name has
// one, in the order of the file. The parts are built from it, and from the tables that have no long form.
type LongForm struct {
	Listeners []Listener
	Routes    []Route // at least one
	Upstreams []Upstream
	Limits    []Limit // without those that are not enabled
}

// DefaultName is the name of what the short form describes.
const DefaultName = "default"

// InLongForm returns c in the long form. [server] listen is the listener, [upstreams] the upstream and
// [rate_limit] the limit named default; that limit holds on every route. Without a route in the file
// there is one, which sends every request to the upstream named default.
func (c *Config) InLongForm() LongForm {
	form := LongForm{
		Listeners: c.listeners(),
		Routes:    slices.Clone(c.Routes),
	}
	for u := range c.upstreams() {
		form.Upstreams = append(form.Upstreams, *u)
	}
	for _, l := range c.limits() {
		if l.Enabled {
			form.Limits = append(form.Limits, l)
		}
	}
	if len(form.Routes) == 0 {
		form.Routes = []Route{defaultRoute()}
	}
	for i := range form.Routes {
		r := &form.Routes[i]
		if r.Name == "" {
			r.Name = r.Match
		}
		r.Limits = form.inForce(r.Limits, c.RateLimit != nil)
	}
	return form
}

// upstreams are those of both forms; that of the short form is one only if it has backends.
func (c *Config) upstreams() iter.Seq[*Upstream] {
	return func(yield func(*Upstream) bool) {
		if len(c.Upstreams.Backends) > 0 && !yield(&Upstream{DefaultName, "upstreams", c.Upstreams}) {
			return
		}
		for i := range c.NamedUpstreams {
			if !yield(&c.NamedUpstreams[i]) {
				return
			}
		}
	}
}

// upstream is the one of that name; nil if there is none.
func (c *Config) upstream(name string) *Upstream {
	for u := range c.upstreams() {
		if u.Name == name {
			return u
		}
	}
	return nil
}

// limits are those of both forms, also those that are not enabled.
func (c *Config) limits() (all []Limit) {
	if c.RateLimit != nil {
		all = append(all, Limit{DefaultName, "rate_limit", *c.RateLimit})
	}
	return append(all, c.NamedLimits...)
}

// inForce are the names of the limits of a route, without those that are not enabled.
func (form *LongForm) inForce(names []string, withDefault bool) []string {
	if withDefault && !slices.Contains(names, DefaultName) {
		names = append([]string{DefaultName}, names...)
	}
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return !slices.ContainsFunc(form.Limits, func(l Limit) bool { return l.Name == name })
	})
}
