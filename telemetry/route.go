package telemetry

import "slices"

// Route is what the signals know about one route of a configuration. It is made with the plan that the route
// belongs to, and passed to [Telemetry.Configure] before the first request. From then on it is only read.
type Route struct {
	Path        string   // of its pattern. The configuration bounds the number of paths
	Name        string   // the same holds for the names
	Lines       LineRule // which of its exchanges have an access line
	SampleRatio *float64 // of its traces that begin here, 0 to 1; nil: that of all

	// What a signal has resolved, so that a request does not search for it. Only the signal reads it.
	Series  any // of the metrics
	Sampler any // of the traces
}

// path returns the path of a route; "" before a route is known.
func (r *Route) path() string {
	if r == nil {
		return ""
	}
	return r.Path
}

// name returns the name of a route; "" before a route is known.
func (r *Route) name() string {
	if r == nil {
		return ""
	}
	return r.Name
}

// LineRule says which exchanges of a route have an access line.
type LineRule uint8

// The rules.
const (
	AllLines LineRule = iota
	FailureLines
	NoLines
	lineRules
)

var lineWords = [lineRules]string{"all", "failures", "none"}

// LineWords returns the words of the rules, in their order.
func LineWords() []string { return lineWords[:] }

// LineRuleOf returns the rule that has this word.
func LineRuleOf(word string) LineRule {
	i := slices.Index(lineWords[:], word)
	if i < 0 {
		panic("pace: BUG: no rule for access lines is called " + word)
	}
	return LineRule(i)
}

// HasLine reports whether the ended exchange has an access line, by the rule of its route. A failure is an
// outcome that a backend, pace or a limiter caused.
func (r *Record) HasLine() bool {
	if r.Route == nil {
		return true
	}
	switch r.Route.Lines {
	case NoLines:
		return false
	case FailureLines:
		side := r.Outcome.Info().Side
		return side == BackendSide || side == PaceSide || side == LimiterSide
	}
	return true
}

// RoutePath returns the path of the pattern of the request's route; "" before a route is known.
func (r *Record) RoutePath() string { return r.Route.path() }

// RouteName returns the name of the request's route; "" before a route is known.
func (r *Record) RouteName() string { return r.Route.name() }

// configurable is a signal that prepares for the routes and upstreams of a configuration.
type configurable interface {
	Configure(routes []*Route, upstreams []string)
}

// Configure prepares the signals for the routes and the names of the upstreams of a configuration, before any
// request uses them. What the configuration does not have any more keeps its counters for a while: see the
// signals.
func (t *Telemetry) Configure(routes []*Route, upstreams []string) {
	if c, ok := t.Tracing.(configurable); ok {
		c.Configure(routes, upstreams)
	}
	for _, s := range t.published.Load().signals {
		if c, ok := s.(configurable); ok && s != any(t.Tracing) {
			c.Configure(routes, upstreams)
		}
	}
}

// TakenBy writes down which route takes the request. The traces may decide anew whether to sample it.
func (t *Telemetry) TakenBy(r *Record, route *Route) {
	r.Route = route
	t.Tracing.Resample(&r.Identity, route)
}
