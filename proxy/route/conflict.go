package route

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is what is wrong with an entry.
type Fault struct {
	Route  int    // index of the entry
	Other  int    // index of the entry before it that it conflicts with, or None
	Key    string // "match" or "when"
	What   string
	Remedy string
}

// None is the Other of a fault that concerns one entry alone.
const None = -1

// conflict describes why two routes cannot stand in one table.
func conflict(r, other *Route) Fault {
	f := Fault{Route: r.Index, Other: other.Index, Key: "match"}
	a, b := r.Pattern, other.Pattern
	switch methods, paths := a.relateMethods(b), a.relatePaths(b); {
	case methods.and(paths) == equal && len(r.When) == 0:
		f.What = fmt.Sprintf("%q matches the same requests as %q", a.Text, b.Text)
		f.Remedy = `remove one, or give one a condition in "when"`
	case methods.and(paths) == equal:
		f.Key = "when"
		f.What = fmt.Sprintf("%q has as many conditions as %q, which matches the same requests", a.Text, b.Text)
		f.Remedy = "give one of them a condition more"
	case paths == overlapping:
		f.What = fmt.Sprintf("%q and %q both match %q, and neither is more specific", a.Text, b.Text, commonPath(a, b))
		f.Remedy = "make one path more specific"
	case methods == wider:
		f.What = fmt.Sprintf("%q matches more methods than %q, but fewer paths", a.Text, b.Text)
		f.Remedy = fmt.Sprintf("write %q, or %q for the other", a.with(b.Method), b.with(a.Method))
	default:
		f.What = fmt.Sprintf("%q matches fewer methods than %q, but more paths", a.Text, b.Text)
		f.Remedy = fmt.Sprintf("write %q, or %q for the other", a.with(b.Method), b.with(a.Method))
	}
	return f
}

// with returns the text of the pattern with another method.
func (p *Pattern) with(method string) string {
	return strings.TrimPrefix(method+" "+p.Host+p.Path, " ")
}

// commonPath returns a path that both patterns match.
func commonPath(a, b *Pattern) string {
	var path strings.Builder
	for i := range max(len(a.segments), len(b.segments)) {
		s := a.at(i)
		if t := b.at(i); t.kind < s.kind {
			s = t
		}
		path.WriteByte('/')
		if s.kind == literal || s.kind == single {
			path.WriteString(s.text)
		}
	}
	return path.String()
}

// at returns the segment at i; a pattern goes on as it ends.
func (p *Pattern) at(i int) segment { return p.segments[min(i, len(p.segments)-1)] }

// conflicts reports whether there is a request that both routes match, while neither goes first.
func (r *Route) conflicts(other *Route) bool {
	a, b := r.Pattern, other.Pattern
	if a.Host != b.Host {
		return false // the hosts differ, or the route with a host goes first
	}
	switch a.relateMethods(b).and(a.relatePaths(b)) {
	case equal:
		return len(r.When) == len(other.When)
	case overlapping:
		return true
	}
	return false
}

// relation is how the requests that one pattern matches relate to those of another.
type relation uint8

const (
	equal       relation = iota // the same
	wider                       // these and more
	narrower                    // some of these
	overlapping                 // some in common, and each has others
	disjoint                    // none in common
)

// and combines how two patterns relate in one respect with how they relate in another.
func (r relation) and(other relation) relation {
	switch {
	case r == disjoint || other == disjoint:
		return disjoint
	case r == equal:
		return other
	case other == equal || r == other:
		return r
	}
	return overlapping
}

func (p *Pattern) relateMethods(other *Pattern) relation {
	switch a, b := p.Method, other.Method; {
	case a == b:
		return equal
	case a == "", a == "GET" && b == "HEAD":
		return wider
	case b == "", b == "GET" && a == "HEAD":
		return narrower
	}
	return disjoint
}

func (p *Pattern) relatePaths(other *Pattern) relation {
	a, b := p.segments, other.segments
	r := equal
	for i := range min(len(a), len(b)) {
		if r = r.and(a[i].relate(b[i])); r == disjoint {
			return disjoint
		}
	}
	switch {
	case len(a) == len(b):
		return r
	case len(a) < len(b) && a[len(a)-1].kind == rest:
		return r.and(wider)
	case len(a) > len(b) && b[len(b)-1].kind == rest:
		return r.and(narrower)
	}
	return disjoint
}

func (s segment) relate(other segment) relation {
	switch a, b := s.kind, other.kind; {
	case a == b && (a != literal || s.text == other.text):
		return equal
	case a == rest:
		return wider
	case b == rest:
		return narrower
	case a == single && b == literal:
		return wider
	case a == literal && b == single:
		return narrower
	}
	return disjoint
}

// conflictIndex finds the routes that may conflict with one, without a look at all others. Two routes can only
// conflict if at each position of both their paths they have the same literal, or one has a wildcard.
type conflictIndex struct {
	at    map[position][]*Route
	hosts map[string][]*Route
	rests map[string]*node // by host: the routes that match all that follows
}

// position is a place in the paths of a host's routes, and what stands there.
type position struct {
	host string
	n    int
	kind kind
	text string // of a literal
}

func newConflictIndex(size int) *conflictIndex {
	return &conflictIndex{at: make(map[position][]*Route, 2*size), hosts: map[string][]*Route{}, rests: map[string]*node{}}
}

func (x *conflictIndex) add(r *Route) {
	p := r.Pattern
	x.hosts[p.Host] = append(x.hosts[p.Host], r)
	if x.rests[p.Host] == nil {
		x.rests[p.Host] = &node{}
	}
	if p.segments[len(p.segments)-1].kind == rest {
		x.rests[p.Host].add(p.segments, r)
	}
	for i, s := range p.segments {
		at := positionOf(p.Host, i, s)
		x.at[at] = append(x.at[at], r)
	}
}

func positionOf(host string, n int, s segment) position {
	if s.kind != literal {
		s.text = ""
	}
	return position{host, n, s.kind, s.text}
}

// conflict returns the earliest route that conflicts with r; nil if there is none.
func (x *conflictIndex) conflict(r *Route) (earliest *Route) {
	for _, group := range x.candidates(r.Pattern) {
		i := slices.IndexFunc(group, r.conflicts)
		if i >= 0 && (earliest == nil || group[i].Index < earliest.Index) {
			earliest = group[i]
		}
	}
	return earliest
}

// candidates returns the routes that may conflict with p: those that match all that follows at a place that p
// passes, and of the others those at the position of p where the fewest have its literal or a wildcard.
func (x *conflictIndex) candidates(p *Pattern) [][]*Route {
	fewest := [][]*Route{x.hosts[p.Host]}
	for i, s := range p.segments {
		if s.kind != literal && s.kind != end {
			continue
		}
		here := [][]*Route{x.at[positionOf(p.Host, i, s)]}
		if s.kind == literal {
			here = append(here, x.at[position{p.Host, i, single, ""}])
		}
		if size(here) < size(fewest) {
			fewest = here
		}
	}
	if n := x.rests[p.Host]; n != nil {
		fewest = append(fewest, n.passed(p.segments, nil))
	}
	return fewest
}

// passed appends the routes at n and at those nodes below it to which the segments, or paths that they match,
// lead.
func (n *node) passed(segments []segment, routes []*Route) []*Route {
	for _, t := range n.takers {
		routes = append(routes, t.route)
	}
	if len(segments) == 0 {
		return routes
	}
	s, after := segments[0], segments[1:]
	switch s.kind {
	case literal:
		if c := n.literals.find(s.text); c != nil {
			routes = c.passed(after, routes)
		}
	case single:
		for c := range n.literals.all {
			routes = c.passed(after, routes)
		}
	default:
		return routes
	}
	if n.single != nil {
		routes = n.single.passed(after, routes)
	}
	return routes
}

func size(groups [][]*Route) (n int) {
	for _, g := range groups {
		n += len(g)
	}
	return n
}
