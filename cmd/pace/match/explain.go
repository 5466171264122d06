package match

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/proxy/route"
	"pace/telemetry"
)

// explanation writes what a configuration does with one request, one thing a line.
type explanation struct {
	w    io.Writer
	file *config.File
	form config.LongForm
}

// say writes a sentence, without the secrets in it.
func (e *explanation) say(format string, args ...any) {
	fmt.Fprintln(e.w, e.file.Masked(fmt.Sprintf(format, args...)))
}

// Explain writes what f does with a request. vet.Load has accepted f.
func Explain(w io.Writer, f *config.File, r route.Request, target string) {
	e := explanation{w, f, f.InLongForm()}
	if r.Method == http.MethodConnect {
		e.say("Response: 400, outcome %s, because pace rejects every CONNECT.", telemetry.BadRequest)
		return
	}
	if f.Metrics.Enabled && f.Metrics.Endpoint != "" && r.Path == f.Metrics.Endpoint {
		e.say("Response: pace's own metrics, to those who may read them; others get 404 (metrics.endpoint).")
		return
	}
	m := Of(e.form.Routes, Table(e.form.Routes), r, target)
	if m.config == nil {
		e.say("Response: %d, outcome %s, because %s.", m.outcome.Info().Status, m.outcome, m.why)
	} else {
		e.route(&m, target)
	}
	if len(m.Others) > 0 {
		e.say("Other routes:")
	}
	for _, o := range m.Others {
		e.say("  %s: %s.", e.name(o.config), o.Why)
	}
}

// name names a route, and where it is written.
func (e *explanation) name(t *config.Route) string {
	name := strconv.Quote(t.Name)
	if t.Match != t.Name {
		name += fmt.Sprintf(" (%s)", t.Match)
	}
	if line := e.file.Line(t.Key); line > 0 {
		name += fmt.Sprintf(" on line %d", line)
	}
	return name
}

// route writes what the route of a match does, in the order in which it does it.
func (e *explanation) route(m *Match, target string) {
	t := m.config
	e.say("Route: %s.", e.name(t))
	if who := clientsOf(t); who != "" {
		e.say("Clients: %s. Others get 403, outcome %s.", who, telemetry.Forbidden)
	}
	for _, name := range t.Limits {
		i := slices.IndexFunc(e.form.Limits, func(l config.Limit) bool { return l.Name == name })
		l := e.form.Limits[i]
		e.say("Limit: %q, %d requests in any %d s for each %s.", l.Name, l.MaxRequests, l.WindowSeconds, l.KeyExtractor)
	}
	switch {
	case t.Redirect != "":
		to, p := vet.Redirect(*t)
		e.say("Response: %d, outcome %s, to %s.", t.Status, m.outcome, to.Location(p, target))
	case t.Respond != 0:
		e.say("Response: %d, outcome %s, from pace itself.", t.Respond, m.outcome)
	default:
		e.forward(m)
	}
	e.rules("Response header", t.ResponseHeaders)
}

// forward writes what a route sends to a backend.
func (e *explanation) forward(m *Match) {
	t := m.config
	if t.Upstream != "" {
		e.say("Upstream: %s.", e.upstream(t.Upstream))
	}
	for _, s := range t.Split {
		e.say("Upstream, with the weight %d: %s.", s.Weight, e.upstream(s.Upstream))
	}
	switch {
	case len(t.Split) > 0 && t.SplitBy != "":
		e.say("Split: by %s, so that a client stays at one upstream.", t.SplitBy)
	case len(t.Split) > 0:
		e.say("Split: at random.")
	}
	e.say("Target at the backend: %s.", *m.BackendPath)
	switch t.Host {
	case "keep":
	case "backend":
		e.say("Host at the backend: that of the backend's URL.")
	default:
		e.say("Host at the backend: %s.", t.Host)
	}
	e.rules("Request header", t.RequestHeaders)
	if t.Mirror != "" {
		e.say("Mirror: %s also gets %g %% of the requests, and its responses are dropped.", e.upstream(t.Mirror), 100*t.MirrorShare)
	}
}

// upstream names an upstream and its backends.
func (e *explanation) upstream(name string) string {
	for _, u := range e.form.Upstreams {
		if u.Name == name {
			var urls []string
			for _, b := range u.Backends {
				urls = append(urls, b.URL())
			}
			return fmt.Sprintf("%q at %s", name, strings.Join(urls, ", "))
		}
	}
	panic("pace: BUG: load accepted an upstream that is not defined: " + name)
}

// clientsOf says which clients may use a route; "" if all may.
func clientsOf(t *config.Route) string {
	switch allow, deny := networks(t.Allow), networks(t.Deny); {
	case allow != "" && deny != "":
		return "those in " + allow + ", but not those in " + deny
	case allow != "":
		return "those in " + allow
	case deny != "":
		return "all but those in " + deny
	}
	return ""
}

func networks(list []netip.Prefix) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// rules writes what rules do with a header.
func (e *explanation) rules(header string, rules config.HeaderRules) {
	for _, name := range rules.Remove {
		e.say("%s: %s is removed.", header, name)
	}
	for _, set := range rules.Set {
		e.say("%s: %s is set to %q.", header, set.Name, set.Shown())
	}
	for _, add := range rules.Add {
		e.say("%s: %s also gets %q.", header, add.Name, add.Shown())
	}
}
