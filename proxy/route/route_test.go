package route

import (
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
