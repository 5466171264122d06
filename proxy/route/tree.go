package route

import "strings"

// node is a place in the tree of the patterns for one host: the segments that lead to it are those that a path
// has had so far. The routes of a place stand in order of precedence.
//
// Of two patterns that match one request, one is more specific, or they would conflict. It has the more
// specific segment where the two differ first. So the search that tries literals before wildcards finds the
// patterns of a request in their order of precedence. It goes on where a route's method or conditions do not fit.
type node struct {
	literals children // the next segment is equal
	single   *node    // the next segment is any
	end      []*Route // the path ends with a slash here
	rest     []*Route // anything follows, at least a slash
	whole    []*Route // the path ends here
}

// add adds a route whose remaining segments lead from n to its place.
func (n *node) add(segments []segment, r *Route) {
	for _, s := range segments {
		switch s.kind {
		case literal:
			n = n.literals.make(s.text)
		case single:
			if n.single == nil {
				n.single = &node{}
			}
			n = n.single
		case end:
			n.end = append(n.end, r)
			return
		case rest:
			n.rest = append(n.rest, r)
			return
		}
	}
	n.whole = append(n.whole, r)
}

// find returns the route below n that takes a request; nil if there is none. path is what is left of the path.
func (n *node) find(path string, q *Request) *Route {
	switch path {
	case "":
		return first(n.whole, q)
	case "/":
		if r := first(n.end, q); r != nil {
			return r
		}
		return first(n.rest, q)
	case asterisk: // it is about all paths, so a pattern must match them all
		return first(n.rest, q)
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
	return first(n.rest, q)
}

// first returns the first route whose method and conditions fit.
func first(routes []*Route, q *Request) *Route {
	for _, r := range routes {
		if r.takes(q) {
			return r
		}
	}
	return nil
}

// methods appends the methods of the routes below n that match a path and a header.
func (n *node) methods(path string, header map[string][]string, methods []string) []string {
	note := func(routes []*Route) {
		for _, r := range routes {
			if r.Pattern.Method != "" && met(r.When, header) {
				methods = append(methods, r.Pattern.Method)
			}
		}
	}
	switch path {
	case "":
		note(n.whole)
		return methods
	case "/":
		note(n.end)
		note(n.rest)
		return methods
	case asterisk:
		note(n.rest)
		return methods
	}
	segment, after := cut(path)
	if c := n.literals.get(segment); c != nil {
		methods = c.methods(after, header, methods)
	}
	if n.single != nil && segment != "" {
		methods = n.single.methods(after, header, methods)
	}
	note(n.rest)
	return methods
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
