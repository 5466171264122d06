package vet

import (
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"pace/config"
	"pace/proxy/route"
)

// Holes warns of networks that are allowed or denied below a path, but not at the path itself: "/admin/" does
// not match "/admin", and pace does not redirect between the two.
func Holes(f *config.File) (warnings []*config.Fault) {
	table, faults := route.NewTable(Entries(f.Routes))
	if len(faults) > 0 {
		return nil
	}
	for _, r := range f.Routes {
		if len(r.Allow)+len(r.Deny) == 0 {
			continue
		}
		bare, request, ok := withoutSlash(r)
		if !ok {
			continue
		}
		taken := table.Match(request).Route
		if taken == nil {
			continue
		}
		other := f.Routes[taken.Index]
		if slices.Equal(other.Allow, r.Allow) && slices.Equal(other.Deny, r.Deny) {
			continue
		}
		warnings = append(warnings, f.Fault(r.Key+".match",
			fmt.Sprintf("warning: %q does not match %q, which the route on line %d takes, with another allow or deny", r.Match, bare, f.Line(other.Key)),
			fmt.Sprintf("write a route for %q with the same allow and deny", bare)))
	}
	return warnings
}

// wildcards are the segments of a pattern that match any segment; trailing is what follows the last slash if
// it may be anything.
var (
	wildcards = regexp.MustCompile(`\{[^/{}]*\}`)
	trailing  = regexp.MustCompile(`\{[^/{}]*\.\.\.\}$`)
)

// withoutSlash returns the path above all that a route's pattern matches, and a request for it that the route's
// other conditions let pass; ok is false if the pattern does not end in a slash.
func withoutSlash(r config.Route) (bare string, request route.Request, ok bool) {
	p, err := route.Parse(r.Match)
	if err != nil {
		return "", request, false
	}
	path := trailing.ReplaceAllString(p.Path, "")
	if !strings.HasSuffix(path, "/") || path == "/" {
		return "", request, false
	}
	bare = strings.TrimSuffix(path, "/")
	request = route.Request{Method: p.Method, Host: p.Host, Path: wildcards.ReplaceAllString(bare, "x"), Header: map[string][]string{}}
	if request.Method == "" {
		request.Method = "GET"
	}
	for _, c := range r.When {
		request.Header[textproto.CanonicalMIMEHeaderKey(c.Name)] = []string{c.Value}
	}
	return bare, request, true
}
