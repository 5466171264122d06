package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"pace/config"
	"pace/proxy/message"
	"pace/proxy/route"
	"pace/telemetry"
)

func explainCommand() *cobra.Command {
	var header []string
	var r route.Request
	var target string
	var asJSON bool
	c := &cobra.Command{
		Use:   "explain [TRACE_ID | FILE METHOD URL]",
		Short: "Say what happened to a request, or which route would take one",
		Long: "With a trace id, say what happened to that request: a running pace is asked, which keeps the last interesting\n" +
			"ones. Without an argument, explain the last request that failed.\n\n" +
			"With FILE METHOD URL, say which route of FILE would take a request, why not the others, and what would happen to\n" +
			"it. No running pace is asked. FILE may be - for standard input. URL is https://host/path, or /path alone.",
		Example: "  pace explain\n  pace explain 4278175a7b49fc3c85a78a299452aaf9\n" +
			"  pace explain pace.toml GET https://api.example.com/users/7 -H 'X-Canary: 1'",
		Args: func(c *cobra.Command, args []string) (err error) {
			switch n := len(args); {
			case n < 2 && c.Flags().Changed("header"):
				return errors.New("-H is of the request in FILE METHOD URL; name all three")
			case n == 0:
				return nil
			case n == 1:
				return checkTraceID(args[0])
			case n != 3:
				return fmt.Errorf("expected FILE METHOD URL, got %d arguments", n)
			case asJSON || c.Flags().Changed("admin"):
				return errors.New("--json and --admin are of an explanation that a running pace gives; leave FILE METHOD URL out")
			}
			r, target, err = requestOf(args[1], args[2], header)
			return err
		},
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) < 3 {
				return explainTrace(c, strings.Join(args, ""), asJSON)
			}
			f, err := load(args[0])
			if err != nil {
				return err
			}
			explainRequest(c.OutOrStdout(), f, r, target)
			return nil
		},
	}
	takeAdmin(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the record of the request instead of sentences")
	c.Flags().StringArrayVarP(&header, "header", "H", nil, "a header `FIELD` of the request, 'Name: value'; may be repeated")
	return c
}

// requestOf reads a request from the command line, as curl would send it.
func requestOf(method, target string, header []string) (r route.Request, _ string, err error) {
	target, _, _ = strings.Cut(target, "#")
	u, err := url.Parse(target)
	switch {
	case method == "" || strings.ContainsFunc(method, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c) }):
		return r, "", fmt.Errorf("%q is not a method; write one such as GET", method)
	case err != nil, target == "":
		return r, "", fmt.Errorf("%q is not a URL; write https://host/path", target)
	case u.Host == "" && !strings.HasPrefix(target, "/") && target != message.Asterisk:
		return r, "", fmt.Errorf("%q has no scheme; write https://%s", target, target)
	}
	r = route.Request{Method: method, Host: u.Host, Header: map[string][]string{}}
	for _, line := range header {
		name, value, ok := strings.Cut(line, ":")
		if name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)); !ok || name == "" {
			return r, "", fmt.Errorf("%q is not a header field; write 'Name: value'", line)
		}
		if value = strings.TrimSpace(value); name != "Host" {
			r.Header[name] = append(r.Header[name], value)
		} else if r.Host == "" { // a host in the target goes first
			r.Host = value
		}
	}
	target = message.Target(method, target, u)
	r.Path, _, _ = strings.Cut(target, "?")
	return r, target, nil
}

// explanation writes what a configuration does with one request, one thing a line.
type explanation struct {
	w    io.Writer
	file *config.File
	form config.LongForm
}

func (e *explanation) say(format string, args ...any) { fmt.Fprintf(e.w, format+"\n", args...) }

// explainRequest writes what f does with a request.
func explainRequest(w io.Writer, f *config.File, r route.Request, target string) {
	e := explanation{w, f, f.InLongForm()}
	table, faults := route.NewTable(routeEntries(e.form.Routes))
	if faults != nil {
		panic("pace: BUG: load accepted routes with faults: " + faults[0].What)
	}
	if r.Method == http.MethodConnect {
		e.say("Response: 400, outcome %s, because pace rejects every CONNECT.", telemetry.BadRequest)
		return
	}
	if f.Metrics.Enabled && f.Metrics.Endpoint != "" && r.Path == f.Metrics.Endpoint {
		e.say("Response: pace's own metrics, to those who may read them; others get 404 (metrics.endpoint).")
		return
	}
	m := matchOf(e.form.Routes, table, r, target)
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
func (e *explanation) route(m *match, target string) {
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
		e.say("Response: %d, outcome %s, to %s.", t.Status, m.outcome, locationOf(t, target))
	case t.Respond != 0:
		e.say("Response: %d, outcome %s, from pace itself.", t.Respond, m.outcome)
	default:
		e.forward(m)
	}
	e.rules("Response header", t.ResponseHeaders)
}

// locationOf returns where a redirect leads.
func locationOf(t *config.Route, target string) string {
	p, err := route.Parse(t.Match)
	if err == nil {
		var r *route.Redirect
		if r, err = route.ParseRedirect(t.Redirect, p); err == nil {
			return r.Location(p, target)
		}
	}
	panic("pace: BUG: load accepted a redirect with a fault: " + err.Error())
}

// forward writes what a route sends to a backend.
func (e *explanation) forward(m *match) {
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
		e.say("%s: %s is set to %q.", header, set.Name, set.Value)
	}
	for _, add := range rules.Add {
		e.say("%s: %s also gets %q.", header, add.Name, add.Value)
	}
}
