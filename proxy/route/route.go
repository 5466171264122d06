// Package route decides which route takes a request. Today there is one, which takes every request; the
// rest of the path asks all the same, so that more of them change nothing there.
//
// It must not know requests under way, backends, or any other package of pace.
package route

// Route is a route's name and what it takes.
type Route struct {
	Pattern string // "/" takes every path. It names the route in all signals, so it is bounded by the configuration.
}

// All is the only route that the short form of the configuration knows.
const All = "/"

// Table is the routes of one configuration. It is made once and only read.
type Table struct {
	only Route
}

// NewTable returns the Table of the short form.
func NewTable() *Table { return &Table{Route{Pattern: All}} }

// Take returns the route that takes a request for path on host.
func (t *Table) Take(host, path string) *Route { return &t.only }
