package route

import (
	"slices"
	"strings"
)

// node is a place in the tree of the patterns for one host: the segments that lead to it are those that a path
// has had so far.
//
// Of two patterns that match one request, one is more specific, or they would conflict. It has the more
// specific segment where the two differ first. So the search that tries literals before wildcards finds the
// routes of a request in their order of precedence. It goes on where a route's method or conditions do not fit.
//
// A node has the size of a cache line: in a large table, what a match costs is its cache misses.
type node struct {
	literals children // the next segment is equal
	single   *node    // the next segment is any
	takers   []taker  // the routes whose pattern ends here
}

// taker is a route at its place, with all that decides whether it takes a request.
type taker struct {
	place  kind   // how a path ends there: whole, with a slash (end), or with anything (rest)
	method string // "": every method
	when   []Condition
	route  *Route
}

// whole is the place of a pattern whose last segment is a literal or a single wildcard.
const whole = literal

// add adds a route whose remaining segments lead from n to its place. Routes are added in order of precedence.
func (n *node) add(segments []segment, r *Route) {
	place := whole
	for _, s := range segments {
		switch s.kind {
		case literal:
			n = n.literals.make(s.text)
		case single:
			if n.single == nil {
				n.single = &node{}
			}
			n = n.single
		default:
			place = s.kind
		}
	}
	n.takers = append(slices.Clip(n.takers), taker{place, r.Pattern.Method, r.When, r})
}

// find returns the route below n that takes a request; nil if there is none. path is what is left of the path.
func (n *node) find(path string, q *Request) *Route {
	switch path {
	case "":
		return n.first(whole, q)
	case "/":
		if r := n.first(end, q); r != nil {
			return r
		}
		return n.first(rest, q)
	case asterisk: // it is about all paths, so a pattern must match them all
		return n.first(rest, q)
	}
	segment, after := cut(path)
	if c := n.literals.get(segment); c != nil {
		if r := c.find(after, q); r != nil {
			return r
		}
	}
	if n.single != nil && segment != "" {
		if r := n.single.find(after, q); r != nil {
			return r
		}
	}
	return n.first(rest, q)
}

// first returns the first route at a place whose method and conditions fit.
func (n *node) first(place kind, q *Request) *Route {
	for i := range n.takers {
		if t := &n.takers[i]; t.place == place && allows(t.method, q.Method) && met(t.when, q.Header) {
			return t.route
		}
	}
	return nil
}

// all visits all routes below n whose pattern matches a path, whatever the method and the header.
func (n *node) all(path string, visit func(*Route)) {
	kinds := []kind{rest}
	switch path {
	case "":
		kinds = []kind{whole}
	case "/":
		kinds = []kind{end, rest}
	case asterisk:
	default:
		segment, after := cut(path)
		if c := n.literals.get(segment); c != nil {
			c.all(after, visit)
		}
		if n.single != nil && segment != "" {
			n.single.all(after, visit)
		}
	}
	for _, place := range kinds {
		for _, t := range n.takers {
			if t.place == place {
				visit(t.route)
			}
		}
	}
}

// children are nodes by the literal that leads to them. A few are quicker to search than to hash.
type children struct {
	few  []child
	many map[string]*node // nil while there are few
}

type child struct {
	text string
	node *node
}

// fewChildren is how many children are searched one by one.
const fewChildren = 8

// make returns the child of a literal, and makes it if there is none.
func (c *children) make(text string) *node {
	if n := c.find(text); n != nil {
		return n
	}
	n := &node{}
	switch {
	case c.many != nil:
		c.many[text] = n
	case len(c.few) < fewChildren:
		c.few = append(c.few, child{text, n})
	default:
		c.many = map[string]*node{text: n}
		for _, f := range c.few {
			c.many[f.text] = f.node
		}
		c.few = nil
	}
	return n
}

// find returns the child of a literal; nil if there is none.
func (c *children) find(text string) *node {
	if c.many != nil {
		return c.many[text]
	}
	for i := range c.few {
		if c.few[i].text == text {
			return c.few[i].node
		}
	}
	return nil
}

// all yields the children in any order.
func (c *children) all(yield func(*node) bool) {
	for _, f := range c.few {
		if !yield(f.node) {
			return
		}
	}
	for _, n := range c.many {
		if !yield(n) {
			return
		}
	}
}

// get returns the child of a segment of a request's path, which may be percent-encoded.
func (c *children) get(segment string) *node {
	if strings.IndexByte(segment, '%') < 0 {
		return c.find(segment)
	}
	var buf [128]byte
	b := decoded(buf[:0], segment)
	if c.many != nil {
		return c.many[string(b)]
	}
	for i := range c.few {
		if c.few[i].text == string(b) {
			return c.few[i].node
		}
	}
	return nil
}
