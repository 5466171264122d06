// Package route decides which route takes a request, and says why the others do not. Patterns have the syntax
// of net/http.ServeMux, its precedence and its conflicts. What differs is how a path is read: [Table.Match]
// matches the path as it came, and neither cleans it nor redirects.
//
// A [Table] is made once and only read, so it is safe for concurrent use. A match allocates nothing.
//
// It must not know requests under way, upstreams, or any other package of pace.
package route

import (
	"cmp"
	"slices"
	"strings"
)

// Entry is what a configuration says about which requests a route takes.
type Entry struct {
	Name  string // "": Match
	Match string // the pattern
	When  []Condition

	Secret []string // the fields of When whose values [Table.Explain] must not show
}

// All is the pattern that matches every request.
const All = "/"

// asterisk is the path of a request that is about the server as a whole (RFC 9112 §3.2.4).
const asterisk = "*"

// Route is one route of a Table.
type Route struct {
	Index   int // of its Entry
	Name    string
	Pattern *Pattern
	When    []Condition // in the order of their fields

	secret []string // of the Entry
}

// Request is what decides which route takes a request.
type Request struct {
	Method string
	Host   string              // the authority of a target in absolute form, else the Host field; its port is ignored
	Path   string              // as it came, without the query; that of OPTIONS * is "*"
	Header map[string][]string // by canonical name
}

// Miss is why no route takes a request.
type Miss uint8

// The reasons why no route takes a request.
const (
	Taken            Miss = iota // a route takes it
	NoRoute                      // no pattern matches
	MethodNotAllowed             // only patterns with other methods match
	BadPath                      // the path could pass by a route: it has another route where it is resolved
)

// Result says which route takes a request.
type Result struct {
	Route *Route // nil: none, and Miss says why
	Miss  Miss
	Allow []string // with MethodNotAllowed: the methods that would match, sorted
}

// Table is the routes of one configuration.
type Table struct {
	routes  []*Route         // in order of precedence
	hosts   map[string]*node // the roots of the patterns that have a host
	anyHost *node            // the root of the others
}

// NewTable returns the Table of the entries, which may stand in any order and have any names, or all that is wrong with them, in their order.
func NewTable(entries []Entry) (*Table, []Fault) {
	var faults []Fault
	routes := make([]*Route, 0, len(entries))
	index := newConflictIndex(len(entries))
	for i, e := range entries {
		p, err := Parse(e.Match)
		if err != nil {
			faults = append(faults, Fault{Route: i, Other: None, Key: "match", What: err.What, Remedy: err.Remedy})
			continue
		}
		when, bad := conditions(e.When)
		for _, b := range bad {
			b.Route = i
			faults = append(faults, b)
		}
		if bad != nil {
			continue
		}
		r := &Route{Index: i, Name: cmp.Or(e.Name, e.Match), Pattern: p, When: when, secret: e.Secret}
		if other := index.conflict(r); other != nil {
			faults = append(faults, conflict(r, other))
		}
		index.add(r)
		routes = append(routes, r)
	}
	if len(faults) > 0 {
		return nil, faults
	}
	slices.SortStableFunc(routes, (*Route).compare)
	t := &Table{routes: routes, hosts: map[string]*node{}, anyHost: &node{}}
	for _, r := range routes {
		t.root(r.Pattern.Host).add(r.Pattern.segments, r)
	}
	return t, nil
}

// root returns the root of the patterns for a host, "" for any, and makes it if there is none.
func (t *Table) root(host string) *node {
	if host == "" {
		return t.anyHost
	}
	n := t.hosts[host]
	if n == nil {
		n = &node{}
		t.hosts[host] = n
	}
	return n
}

// Routes returns the routes in order of precedence: of two that match the same request, the one that takes it
// stands first.
func (t *Table) Routes() []*Route { return t.routes }

// Match returns the route that takes a request. The path is compared as it came, segment by segment, each
// percent-decoded on its own. A path that a backend could resolve to one of another route is a BadPath.
func (t *Table) Match(r Request) Result {
	if r.Path == "" || r.Path[0] != '/' && (r.Path != asterisk || r.Method != "OPTIONS") {
		return Result{Miss: BadPath}
	}
	route := t.find(r, r.Path)
	if unclean(r.Path) {
		for _, path := range resolutions(r.Path) {
			if t.find(r, path) != route {
				return Result{Miss: BadPath}
			}
		}
	}
	if route != nil {
		return Result{Route: route}
	}
	if allow := t.allowed(r); len(allow) > 0 {
		return Result{Miss: MethodNotAllowed, Allow: allow}
	}
	return Result{Miss: NoRoute}
}

// find returns the route that takes a request for a path; nil if there is none.
func (t *Table) find(r Request, path string) *Route {
	if host := t.hostRoot(r.Host); host != nil {
		if found := host.find(path, &r); found != nil {
			return found
		}
	}
	return t.anyHost.find(path, &r)
}

// allowed returns the methods with which a request would have a route, sorted.
func (t *Table) allowed(r Request) (methods []string) {
	t.all(r, func(route *Route) {
		if met(route.When, r.Header) && route.Pattern.Method != "" {
			methods = append(methods, route.Pattern.Method)
		}
	})
	if slices.Contains(methods, "GET") {
		methods = append(methods, "HEAD")
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// all visits the routes whose host and path match a request, in order of precedence.
func (t *Table) all(r Request, visit func(*Route)) {
	if host := t.hostRoot(r.Host); host != nil {
		host.all(r.Path, visit)
	}
	t.anyHost.all(r.Path, visit)
}

// compare orders routes by precedence: a route that takes a request stands before all others that match it.
func (r *Route) compare(other *Route) int {
	a, b := r.Pattern, other.Pattern
	return cmp.Or(
		-cmp.Compare(min(len(a.Host), 1), min(len(b.Host), 1)), // those with a host first
		strings.Compare(a.Host, b.Host),
		slices.CompareFunc(a.segments, b.segments, segment.compare),
		a.compareMethods(b),
		-cmp.Compare(len(r.When), len(other.When)),
	)
}
