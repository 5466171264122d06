package route

import (
	"strings"
	"sync"
	"testing"
)

// table makes a Table of patterns.
func table(t testing.TB, patterns ...string) *Table {
	t.Helper()
	entries := make([]Entry, len(patterns))
	for i, p := range patterns {
		entries[i] = Entry{Match: p}
	}
	made, faults := NewTable(entries)
	if faults != nil {
		t.Fatalf("%q: %+v", patterns, faults)
	}
	return made
}

func TestMatch_AllTakesEverything(t *testing.T) {
	all := table(t, All)
	for _, tt := range []struct{ name, method, host, path string }{
		{"the root is taken", "GET", "shop.example", "/"},
		{"any path is taken", "GET", "shop.example", "/a/b"},
		{"an unclean path is taken as it came", "GET", "shop.example", "//a/./%2e%2e/../"},
		{"a request for the server as a whole is taken", "OPTIONS", "shop.example", "*"},
		{"a request that names no host is taken", "GET", "", "/"},
	} {
		got := all.Match(Request{Method: tt.method, Host: tt.host, Path: tt.path})
		if got.Route == nil || got.Route.Pattern.Text != All || got.Miss != Taken {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
}

func TestMatch_AllocatesNothing(t *testing.T) {
	all := table(t, "/", "GET A.example/{x}/{rest...}", "/a%2Fb")
	for _, r := range []Request{
		{Method: "GET", Host: "a.example", Path: "/a/b"},
		{Method: "GET", Host: "A.example:8080", Path: "/a/b"},
		{Method: "GET", Host: "c.example", Path: "/a%2fb"},
	} {
		if n := testing.AllocsPerRun(100, func() { all.Match(r) }); n != 0 {
			t.Errorf("%+v: %v allocations", r, n)
		}
	}
}

func TestMatch_Conditions(t *testing.T) {
	made, faults := NewTable([]Entry{
		{Match: "GET /a", Name: "plain"},
		{Match: "GET /a", Name: "canary", When: []Condition{{"x-canary", "1"}}},
		{Match: "GET /a", Name: "both", When: []Condition{{"X-Canary", "1"}, {"X-User", ""}}},
		{Match: "/{x}", Name: "wild", When: []Condition{{"X-Wild", "1"}}},
		{Match: "POST /c", Name: "conditional", When: []Condition{{"X-Wild", "1"}}},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	type header = map[string][]string
	for _, tt := range []struct {
		name, method, path string
		header             header
		want               string // name, or the methods that are allowed
		miss               Miss
	}{
		{"no condition is met", "GET", "/a", nil, "plain", Taken},
		{"one condition is met", "GET", "/a", header{"X-Canary": {"1"}}, "canary", Taken},
		{"the route with more conditions goes first", "HEAD", "/a", header{"X-Canary": {"1"}, "X-User": {""}}, "both", Taken},
		{"an empty value is a value", "GET", "/a", header{"X-Canary": {"1"}, "X-User": {"x"}}, "canary", Taken},
		{"a value is compared whole", "GET", "/a", header{"X-Canary": {"1, 1"}}, "plain", Taken},
		{"a repeated field never matches", "GET", "/a", header{"X-Canary": {"1", "1"}}, "plain", Taken},
		{"the search goes on behind another method", "POST", "/a", header{"X-Wild": {"1"}}, "wild", Taken},
		{"unmet conditions of the wildcard leave the methods of the literal", "POST", "/a", nil, "GET, HEAD", MethodNotAllowed},
		{"unmet conditions are no match", "GET", "/b", nil, "", NoRoute},
		{"unmet conditions cause no 405", "GET", "/c", nil, "", NoRoute},
		{"met ones let the wildcard take it", "GET", "/c", header{"X-Wild": {"1"}}, "wild", Taken},
		{"a CONNECT has no path", "CONNECT", "", nil, "", BadPath},
		{"only OPTIONS has an asterisk", "GET", "*", nil, "", BadPath},
		{"an asterisk is about all paths", "OPTIONS", "*", nil, "", NoRoute},
		{"a path begins with a slash", "GET", "a", nil, "", BadPath},
	} {
		got := made.Match(Request{Method: tt.method, Host: "x", Path: tt.path, Header: tt.header})
		what := strings.Join(got.Allow, ", ")
		if got.Route != nil {
			what = got.Route.Name
		}
		if what != tt.want || got.Miss != tt.miss {
			t.Errorf("%s: got %q, %+v, want %q", tt.name, what, got, tt.want)
		}
	}
}

func TestMatch_AsteriskNeedsARouteForAllPaths(t *testing.T) {
	made := table(t, "GET /{$}", "GET /{rest...}", "GET /a/", "h.example/{rest...}", "OPTIONS g.example/")
	for host, want := range map[string]string{"h.example": "h.example/{rest...}", "g.example": "OPTIONS g.example/", "x.example": ""} {
		got := made.Match(Request{Method: "OPTIONS", Host: host, Path: "*"})
		if name := nameOf(got.Route); name != want {
			t.Errorf("%s: got %+v, want %q", host, got, want)
		}
		if want == "" && (got.Miss != MethodNotAllowed || strings.Join(got.Allow, ", ") != "GET, HEAD") {
			t.Errorf("%s: got %+v", host, got)
		}
	}
}

func nameOf(r *Route) string {
	if r == nil {
		return ""
	}
	return r.Name
}

func TestMatch_Hosts(t *testing.T) {
	made := table(t, "/", "a.example/x", "[2001:db8::1]/x", "10.0.0.1/x", strings.Repeat("a", 300)+"/x")
	for _, tt := range []struct{ host, want string }{
		{"a.example", "a.example/x"},
		{"A.EXAMPLE:8443", "a.example/x"},
		{"a.example.", "a.example/x"},
		{"a.example:", "a.example/x"},
		{"b.a.example", "/"},
		{"", "/"},
		{":80", "/"},
		{"[2001:db8::1]", "[2001:db8::1]/x"},
		{"[2001:DB8::1]:80", "[2001:db8::1]/x"},
		{"10.0.0.1:80", "10.0.0.1/x"},
		{strings.Repeat("A", 300), "/"},
	} {
		if got := made.Match(Request{Method: "GET", Host: tt.host, Path: "/x"}); nameOf(got.Route) != tt.want {
			t.Errorf("%q: got %+v, want %q", tt.host, got, tt.want)
		}
	}
}

// TestMatch_ConcurrentSafe is for -race.
func TestMatch_ConcurrentSafe(t *testing.T) {
	patterns, requests := services(100)
	made := table(t, patterns...)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i, r := range requests {
				if got := made.Match(r); nameOf(got.Route) != patterns[i] {
					t.Errorf("%+v: got %+v, want %q", r, got, patterns[i])
				}
				made.Explain(r, 3)
			}
		})
	}
	wg.Wait()
}

func TestMatch_NoWildcardMatchesAnEmptySegment(t *testing.T) {
	made := table(t, "/{x}/b", "/c/{x}/{$}")
	for _, path := range []string{"//b", "/c//"} {
		if got := made.Match(Request{Method: "GET", Path: path}); got.Miss != NoRoute {
			t.Errorf("%s: got %+v, want no route", path, got)
		}
	}
}
