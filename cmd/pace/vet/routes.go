package vet

import (
	"fmt"
	"slices"
	"strings"

	"pace/config"
	"pace/config/toml"
	"pace/proxy/message"
	"pace/proxy/route"
)

// Entries returns which requests the routes take.
func Entries(routes []config.Route) []route.Entry {
	entries := make([]route.Entry, len(routes))
	for i, r := range routes {
		entries[i] = route.Entry{Name: r.Name, Match: r.Match}
		for _, f := range r.When {
			entries[i].When = append(entries[i].When, route.Condition{Field: f.Name, Value: f.Value})
			if f.Secret {
				entries[i].Secret = append(entries[i].Secret, f.Name)
			}
		}
	}
	return entries
}

// routeFaults returns the faults of the routes of f that only the package route finds. known has the faults
// that were found before. It skips a route with a fault in its pattern.
func routeFaults(f *config.File, known []*config.Fault) (faults []*config.Fault) {
	sound := slices.DeleteFunc(slices.Clone(f.Routes), func(r config.Route) bool {
		return slices.ContainsFunc(known, func(k *config.Fault) bool {
			return k.Key == r.Key+".match" || strings.HasPrefix(k.Key, r.Key+".when")
		}) || r.Match == ""
	})
	_, bad := route.NewTable(Entries(sound))
	for _, b := range bad {
		if b.Other != route.None {
			b.What += fmt.Sprintf(" (line %d)", f.Line(sound[b.Other].Key+".match"))
		}
		faults = append(faults, f.Refuse(sound[b.Route].Key+"."+b.Key, b.What, b.Remedy))
	}
	for _, r := range sound {
		if p, err := route.Parse(r.Match); err == nil && r.Redirect != "" {
			if _, err := route.ParseRedirect(r.Redirect, p); err != nil {
				faults = append(faults, f.Refuse(r.Key+".redirect", err.What, err.Remedy))
			}
		}
	}
	for _, r := range f.Routes {
		faults = append(faults, ruleFaults(f, r.Key+".request_headers", r.RequestHeaders, f.Headers.ProxyName, "Traceparent", "Tracestate")...)
		faults = append(faults, ruleFaults(f, r.Key+".response_headers", r.ResponseHeaders, f.Headers.BackendName, f.Tracing.ResponseHeader, "Proxy-Status", "Server-Timing")...)
	}
	return faults
}

// Redirect returns where a route redirects to, and its pattern. [Load] has accepted the route.
func Redirect(r config.Route) (*route.Redirect, *route.Pattern) {
	p, bad := route.Parse(r.Match)
	if bad == nil {
		var to *route.Redirect
		if to, bad = route.ParseRedirect(r.Redirect, p); bad == nil {
			return to, p
		}
	}
	panic("pace: BUG: vet.Load accepted a redirect with a fault: " + bad.Error())
}

// ruleFaults returns the faults of the header rules at a key. own has the names of the fields that pace writes.
func ruleFaults(f *config.File, key string, rules config.HeaderRules, own ...string) (faults []*config.Fault) {
	for _, b := range RuleOptions(rules).Faults(own...) {
		at := key + "." + b.List
		if i := slices.Index(rules.Remove, b.Name); b.List == "remove" {
			at = toml.Element(at, i)
		} else {
			at = toml.Join(at, toml.Name(b.Name))
		}
		faults = append(faults, f.Fault(at, "the field "+b.Name+" "+b.What, b.Remedy))
	}
	return faults
}

// RuleOptions converts the rules of a header to the type of the package that applies them.
func RuleOptions(rules config.HeaderRules) message.RuleOptions {
	fields := func(list []config.Field) (to []message.RuleField) {
		for _, f := range list {
			to = append(to, message.RuleField{Name: f.Name, Value: f.Value})
		}
		return to
	}
	return message.RuleOptions{Remove: rules.Remove, Set: fields(rules.Set), Add: fields(rules.Add)}
}
