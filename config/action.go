package config

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"pace/config/meant"
	"pace/config/toml"
)

// actions are the keys of a route of which it has exactly one.
var actions = []action{
	{"upstream", func(t *Route) bool { return t.Upstream != "" }},
	{"split", func(t *Route) bool { return len(t.Split) > 0 }},
	{"redirect", func(t *Route) bool { return t.Redirect != "" }},
	{"respond", func(t *Route) bool { return t.Respond != 0 }},
}

type action struct {
	key   string
	isSet func(*Route) bool
}

// Actions returns the keys of which a route has exactly one.
func Actions() (keys []string) {
	for _, a := range actions {
		keys = append(keys, a.key)
	}
	return keys
}

// Action returns the key that says what happens to the requests of a route, of which it must have one.
func (t *Route) Action() string {
	for _, a := range actions {
		if a.isSet(t) {
			return a.key
		}
	}
	panic("pace: BUG: a route without an action")
}

// route checks the keys of a route against each other, and its names against those that are defined.
func (r *reader) route(t *Route) {
	taken := r.actionsOf(t)
	switch {
	case len(taken) == 0 && !r.anyFaulted(t.Key, Actions()):
		r.at(r.file.lines[t.Key], t.Key, "what happens to its requests is missing",
			"write one of "+strings.Join(Actions(), ", ")+`, such as upstream = `+strconv.Quote(r.anUpstream()))
	case len(taken) > 1:
		r.fault(t.Key+"."+taken[1], fmt.Sprintf("%s is set on line %d, and a route has only one of %s", taken[0],
			r.file.lines[t.Key+"."+taken[0]], strings.Join(Actions(), ", ")), "remove one of the two")
	}
	r.companions(t)
	if key := t.Key + ".body"; t.Body != "" && (t.Respond == 204 || t.Respond == 205 || t.Respond == 304) {
		r.fault(key, "a response with status "+strconv.Itoa(t.Respond)+" has no body", "remove it")
	}
	r.references(t)
}

// actionsOf are the actions that are set, in the order of the file.
func (r *reader) actionsOf(t *Route) (taken []string) {
	for _, a := range actions {
		if a.isSet(t) {
			taken = append(taken, a.key)
		}
	}
	line := func(action string) int { return r.file.lines[t.Key+"."+action] }
	slices.SortStableFunc(taken, func(a, b string) int { return cmp.Compare(line(a), line(b)) })
	return taken
}

func (r *reader) anyFaulted(table string, leaves []string) bool {
	return slices.ContainsFunc(leaves, func(leaf string) bool {
		path := table + "." + leaf
		return slices.ContainsFunc(r.faults, func(f *Fault) bool {
			return f.Key == path || strings.HasPrefix(f.Key, path+".") || strings.HasPrefix(f.Key, path+"[")
		}) || slices.Contains(r.meant, path)
	})
}

// companions refuses keys that mean nothing without another one.
func (r *reader) companions(t *Route) {
	for _, c := range []struct {
		leaf, of     string
		set, without bool
	}{
		{"split_by", "split", t.SplitBy != "", len(t.Split) == 0},
		{"status", "redirect", t.Status != 308, t.Redirect == ""},
		{"body", "respond", t.Body != "", t.Respond == 0},
		{"mirror_share", "mirror", t.MirrorShare != 1, t.Mirror == ""},
	} {
		if c.set && c.without && !r.anyFaulted(t.Key, []string{c.leaf, c.of}) {
			r.fault(t.Key+"."+c.leaf, "has no effect without "+c.of, "remove it")
		}
	}
}

// references refuses names that nothing defines.
func (r *reader) references(t *Route) {
	r.upstreamNamed(t.Key+".upstream", t.Upstream)
	r.upstreamNamed(t.Key+".mirror", t.Mirror)
	for _, s := range t.Split {
		if key := toml.Join(t.Key+".split", toml.Name(s.Upstream)); !r.upstreamNames().has(s.Upstream) {
			r.undefined(key, "upstream", s.Upstream, r.upstreamNames(), "rename it to ")
		}
	}
	for i, name := range r.writtenList(t.Key+".limits", t.Limits) {
		if !r.limitNames().has(name) {
			r.undefined(toml.Element(t.Key+".limits", i), "limit", name, r.limitNames(), "write ")
		}
	}
}

// writtenList is a list whose indexes are those of the file; nil if an element was refused.
func (r *reader) writtenList(key string, list []string) []string {
	if slices.ContainsFunc(r.faults, func(f *Fault) bool { return strings.HasPrefix(f.Key, key+"[") }) {
		return nil
	}
	return list
}

func (r *reader) upstreamNamed(key, name string) {
	if name != "" && !r.upstreamNames().has(name) {
		r.undefined(key, "upstream", name, r.upstreamNames(), "write ")
	}
}

// undefined reports a name that nothing defines.
func (r *reader) undefined(key, noun, name string, known *names, verb string) {
	what := fmt.Sprintf("no %s is named %s", noun, toml.Quote(name))
	table := "[" + noun + "." + toml.Clip(toml.Name(name)) + "]"
	remedy := "define " + table
	if near := meant.Word(name, known.ordered); near != "" {
		remedy = verb + strconv.Quote(near) + ", or " + remedy
	} else if len(known.ordered) > 0 {
		remedy = verb + oneOf(known.ordered) + ", or " + remedy
	}
	r.fault(key, what, remedy)
}

// oneOf lists words in TOML's quotes; of many, only the first.
func oneOf(words []string) string {
	var quoted []string
	for _, w := range words[:min(len(words), 10)] {
		quoted = append(quoted, strconv.Quote(w))
	}
	if len(quoted) == 1 {
		return quoted[0]
	}
	return "one of " + strings.Join(quoted, ", ")
}

// names are those that the file defines. A file may have many, so they are listed once.
type names struct {
	ordered []string
	set     map[string]bool
}

func (n *names) add(name string) {
	n.ordered = append(n.ordered, name)
	n.set[name] = true
}

func (n *names) has(name string) bool { return n.set[name] }

// upstreamNames are the names that a route may write, also of upstreams with faults of their own.
func (r *reader) upstreamNames() *names {
	if r.knownUpstreams == nil {
		r.knownUpstreams = &names{set: map[string]bool{}}
		if r.file.lines["upstreams"] > 0 {
			r.knownUpstreams.add(DefaultName)
		}
		for _, u := range r.file.NamedUpstreams {
			r.knownUpstreams.add(u.Name)
		}
	}
	return r.knownUpstreams
}

func (r *reader) limitNames() *names {
	if r.knownLimits == nil {
		r.knownLimits = &names{set: map[string]bool{}}
		for _, l := range r.file.limits() {
			r.knownLimits.add(l.Name)
		}
	}
	return r.knownLimits
}

func (r *reader) anUpstream() string {
	if names := r.upstreamNames().ordered; len(names) > 0 {
		return names[0]
	}
	return DefaultName
}

// namesOfRoutes refuses a name that another route has, too. Routes that are named by one pattern, of which some
// have conditions, are only a warning.
func (r *reader) namesOfRoutes(all []Route) {
	for t, first := range namesakes(all) {
		if t.Name != "" || first.Name != "" {
			r.fault(r.writtenOne(t.Key+".name", t.Key+".match"), fmt.Sprintf("%s is the name of the route on line %d as well",
				toml.Quote(t.label()), r.file.lines[first.Key]), "write another name")
		}
	}
}

// label is the name of the route.
func (t *Route) label() string { return cmp.Or(t.Name, t.Match) }

// namesakes yields each route whose name an earlier one has, and the first of that name.
func namesakes(all []Route) iter.Seq2[*Route, *Route] {
	return func(yield func(*Route, *Route) bool) {
		first := map[string]*Route{}
		for i := range all {
			t := &all[i]
			switch other := first[t.label()]; {
			case other == nil:
				first[t.label()] = t
			case !yield(t, other):
				return
			}
		}
	}
}

// Warnings are faults that do no harm: names that nothing uses, or that tell nothing apart, and keys without effect.
func (f *File) Warnings() (all []*Fault) {
	form := f.InLongForm()
	used := map[string]bool{}
	for _, t := range form.Routes {
		used["upstream "+t.Upstream], used["upstream "+t.Mirror] = true, true
		for _, s := range t.Split {
			used["upstream "+s.Upstream] = true
		}
	}
	for _, t := range f.Routes {
		for _, name := range t.Limits {
			used["limit "+name] = true
		}
	}
	for _, u := range form.Upstreams {
		all = append(all, f.slowChecks(&u)...)
		all = append(all, f.looseTLS(&u)...)
		if !used["upstream "+u.Name] {
			all = append(all, f.Fault(u.Key, "warning: no route uses it", "name it in a route, or remove it"))
		}
	}
	for _, l := range f.NamedLimits {
		if !used["limit "+l.Name] {
			all = append(all, f.Fault(l.Key, "warning: no route uses it", "name it in the limits of a route, or remove it"))
		}
	}
	for t, first := range namesakes(f.Routes) {
		all = append(all, f.Fault(t.Key, fmt.Sprintf("warning: it is named %s like the route on line %d, so metrics and logs do not tell the two apart",
			toml.Quote(t.label()), f.lines[first.Key]), "write a name"))
	}
	for _, l := range f.NamedListeners {
		if l.ClientCA != "" && l.ClientAuth == clientAuth {
			all = append(all, f.Fault(l.Key+".client_ca", "warning: has no effect, because clients show no certificate", `write client_auth = "require", or remove it`))
		}
	}
	for i := range f.Routes {
		all = append(all, f.unasked(&f.Routes[i])...)
	}
	for _, u := range form.Upstreams {
		if e := u.Ejection; e.Base > e.Max {
			all = append(all, f.Fault(u.Key+".ejection.base", fmt.Sprintf("warning: it is %s and max is %s, so each ejection takes as long as max says", e.Base, e.Max), "write a shorter base, or a longer max"))
		}
	}
	if f.Metrics.NativeHistograms && !f.Metrics.Enabled {
		all = append(all, f.Fault("metrics.native_histograms", "warning: has no effect, because metrics.enabled is false", "remove it"))
	}
	slices.SortStableFunc(all, func(a, b *Fault) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

// forBackends are the keys of a route that say something about what a backend gets.
var forBackends = []string{"strip_prefix", "add_prefix", "host", "response_timeout", "mirror",
	"request_headers.set", "request_headers.add", "request_headers.remove"}

// unasked warns of what a route says about what a backend gets, if it asks none.
func (f *File) unasked(t *Route) (all []*Fault) {
	if t.Upstream != "" || len(t.Split) > 0 {
		return nil
	}
	for _, leaf := range forBackends {
		if key := t.Key + "." + leaf; f.lines[key] > 0 {
			all = append(all, f.Fault(key, "warning: has no effect, because the route asks no backend", "remove it"))
		}
	}
	return all
}
