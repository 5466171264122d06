package route

import (
	"fmt"
	"slices"
	"strings"
)

// Redirect is the URL that a route sends clients to, with wildcards of its pattern.
type Redirect struct {
	texts []string // between the wildcards
	uses  []int    // after each text but the last, the index of a wildcard of the pattern
}

// ParseRedirect reads a URL in which {name} stands for what a wildcard of the pattern has matched. The wildcard
// may not be part of the host: who chooses the path must not choose where it leads.
func ParseRedirect(url string, p *Pattern) (*Redirect, *PatternError) {
	r, rest, names := &Redirect{}, url, p.Wildcards()
	for {
		text, after, found := strings.Cut(rest, "{")
		r.texts = append(r.texts, text)
		if !found {
			return r, nil
		}
		name, behind, closed := strings.Cut(after, "}")
		i := slices.Index(names, name)
		switch before := url[:len(url)-len(after)-1]; {
		case !closed:
			return nil, bad(`write "{name}"`, "a brace is not closed in %q", url)
		case i < 0 && len(names) == 0:
			return nil, bad(fmt.Sprintf(`write "{%s}" in the pattern, or remove it here`, name), "the pattern %q has no wildcard %q", p.Text, name)
		case i < 0:
			return nil, bad("write one of {"+strings.Join(names, "}, {")+"}", "the pattern %q has no wildcard %q", p.Text, name)
		case !hasPath(before):
			return nil, bad("write a route for each host", "the wildcard %q is part of the host, which clients could choose then", name)
		}
		r.uses = append(r.uses, i)
		rest = behind
	}
}

// hasPath reports whether the start of a URL goes beyond the host.
func hasPath(url string) bool {
	if _, after, absolute := strings.Cut(url, "://"); absolute {
		url = after
	}
	return strings.ContainsAny(url, "/?")
}

// Location returns the URL for a request's target, which is in origin form. What wildcards have matched stays
// percent-encoded, and the query is appended. The URL leads to another host only if the redirect says so.
func (r *Redirect) Location(p *Pattern, target string) string {
	path, query, hasQuery := strings.Cut(target, "?")
	values := p.Values(make([]string, 0, 8), path)
	var url strings.Builder
	for i, text := range r.texts {
		url.WriteString(text)
		if i < len(r.uses) {
			// Browsers take a backslash for a slash.
			url.WriteString(strings.ReplaceAll(values[r.uses[i]], `\`, "%5C"))
		}
	}
	location := url.String()
	if strings.HasPrefix(location, "/") {
		location = "/" + strings.TrimLeft(location, "/") // or "//name" would be a host
	}
	switch {
	case !hasQuery:
	case strings.Contains(location, "?"):
		location += "&" + query
	default:
		location += "?" + query
	}
	return location
}
