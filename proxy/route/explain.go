package route

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Explanation says in sentences why a request has its route, or none.
type Explanation struct {
	Result
	Why    string
	Others []Other // the nearest first
}

// Other is a route that does not take the request.
type Other struct {
	Route *Route
	Why   string

	misses  int // of path, method and conditions, and twice for the host
	matched int // segments of the path
}

// Explain returns what Match returns, and why at most limit other routes do not take the request. It looks at
// all routes, so it is not for every request.
func (t *Table) Explain(r Request, limit int) Explanation {
	e := Explanation{Result: t.Match(r)}
	e.Why = t.why(r, e.Result)
	for _, route := range t.routes {
		if route != e.Route {
			e.Others = append(e.Others, route.other(r, e.Result))
		}
	}
	slices.SortStableFunc(e.Others, func(a, b Other) int {
		return cmp.Or(cmp.Compare(a.misses, b.misses), cmp.Compare(b.matched, a.matched))
	})
	e.Others = e.Others[:min(limit, len(e.Others))]
	return e
}

// why explains a Result.
func (t *Table) why(r Request, result Result) string {
	switch result.Miss {
	case Taken:
		return fmt.Sprintf("the route %q takes it", result.Route.Name)
	case NoRoute:
		return "no route matches it"
	case MethodNotAllowed:
		return "the routes that match its path have other methods: " + strings.Join(result.Allow, ", ")
	}
	if !strings.HasPrefix(r.Path, "/") {
		return "its path does not begin with a slash"
	}
	raw := t.find(r, r.Path)
	for _, path := range resolutions(r.Path) {
		if route := t.find(r, path); route != raw {
			return fmt.Sprintf("a backend may resolve its path to %q, which has %s, while the path as it came has %s", path, named(route), named(raw))
		}
	}
	panic("pace: BUG: a bad path without a reason")
}

func named(r *Route) string {
	if r == nil {
		return "no route"
	}
	return fmt.Sprintf("the route %q", r.Name)
}

// other says why r does not take a request that has another result.
func (r *Route) other(q Request, result Result) Other {
	var whys []string
	p := r.Pattern
	if !p.matchesHost(q.Host) {
		whys = append(whys, fmt.Sprintf("its host is %s, and the request's is %q", p.Host, strings.ToLower(portless(q.Host))))
	}
	matched, why := p.mismatch(q.Path)
	if why != "" {
		whys = append(whys, why)
	}
	if !allows(p.Method, q.Method) {
		whys = append(whys, fmt.Sprintf("its method is %s, not %s", p.Method, q.Method))
	}
	for _, c := range r.When {
		switch lines := q.Header[c.Field]; {
		case len(lines) == 0:
			whys = append(whys, fmt.Sprintf("it wants %s: %s, and the request has no such field", c.Field, r.shown(c)))
		case len(lines) > 1:
			whys = append(whys, fmt.Sprintf("the field %s comes %d times, and a repeated field never matches", c.Field, len(lines)))
		case lines[0] != c.Value:
			whys = append(whys, fmt.Sprintf("it wants %s: %s, not %q", c.Field, r.shown(c), lines[0]))
		}
	}
	o := Other{Route: r, Why: strings.Join(whys, "; "), misses: len(whys), matched: matched}
	switch {
	case o.misses > 0 && !p.matchesHost(q.Host):
		o.misses++
	case o.misses == 0 && result.Route == nil:
		o.Why = "it matches the path as it came"
	case o.misses == 0:
		o.Why = "it matches too, but " + result.Route.precedes(r)
	}
	return o
}

// shown returns the value of a condition, or a mask.
func (r *Route) shown(c Condition) string {
	isSecret := func(field string) bool { return strings.EqualFold(field, c.Field) }
	if slices.ContainsFunc(r.secret, isSecret) {
		return "***"
	}
	return c.Value
}

func (p *Pattern) matchesHost(host string) bool {
	return p.Host == "" || p.Host == strings.ToLower(portless(host))
}

// precedes says why r goes before another route that also matches the request.
func (r *Route) precedes(other *Route) string {
	a, b := r.Pattern, other.Pattern
	switch {
	case a.Host != "" && b.Host == "":
		return fmt.Sprintf("%q names the host", r.Name)
	case a.relateMethods(b).and(a.relatePaths(b)) == equal:
		return fmt.Sprintf("%q has more conditions", r.Name)
	}
	return fmt.Sprintf("%q is more specific", r.Name)
}

// mismatch returns how many segments of a path the pattern matches, and why it does not match them all; "" if it
// does.
func (p *Pattern) mismatch(path string) (matched int, why string) {
	if path == asterisk {
		if p.segments[0].kind == rest {
			return 1, ""
		}
		return 0, "it does not match all paths, as OPTIONS * does"
	}
	for i, s := range p.segments {
		text, after := cut(path)
		switch {
		case s.kind == rest && path != "":
			return i + 1, ""
		case path == "" && s.kind != literal && s.kind != single:
			return i, "its path goes on with a slash"
		case path == "", path == "/" && s.kind != end:
			return i, "its path has more segments"
		case s.kind == end && path != "/":
			return i, "it matches only the path that ends in this slash"
		case s.kind == literal && string(decoded(nil, text)) != s.text:
			return i, fmt.Sprintf("segment %d of its path is %q, not %q", i+1, s.text, text)
		case s.kind == single && text == "":
			return i, fmt.Sprintf("segment %d of the path is empty", i+1)
		}
		path = after
	}
	switch path {
	case "":
		return len(p.segments), ""
	case "/":
		return len(p.segments), "its path does not end in a slash"
	}
	return len(p.segments), "its path has fewer segments"
}
