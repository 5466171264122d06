package route

import (
	"fmt"
	"slices"
	"testing"
)

func TestNewTable_ReportsAllFaults(t *testing.T) {
	entries := []Entry{
		{Match: "a.example/a/{x}"},
		{Match: "a.example/{y}/b"},
		{Match: "a.example/a/{z}", Name: "again"},
		{Match: "GET /"},
		{Match: "/c/"},
		{Match: "POST /d/", When: []Condition{{"x-canary", "1"}}},
		{Match: "POST /d/", When: []Condition{{"X-Other", "1"}}},
		{Match: "B.example/e"},
		{Match: "GET b.example/"},
		{Match: "/a//b"},
		{Match: "GET /when", When: []Condition{{"Host", "a"}, {"X A", "1"}, {"X-B", " 1"}, {"X-C", "1\n"}, {"x-d", "1"}, {"X-D", "2"}}},
		{Match: "GET /f/{x...}"},
		{Match: "HEAD /f/"},
	}
	made, faults := NewTable(entries)
	if made != nil {
		t.Error("got a table")
	}
	var got []string
	for _, f := range faults {
		got = append(got, fmt.Sprintf("%d %d %s: %s; %s", f.Route, f.Other, f.Key, f.What, f.Remedy))
	}
	want := []string{
		`1 0 match: "a.example/{y}/b" and "a.example/a/{x}" both match "/a/b", and neither is more specific; make one path more specific`,
		`2 0 match: "a.example/a/{z}" matches the same requests as "a.example/a/{x}"; remove one, or give one a condition in "when"`,
		`4 3 match: "/c/" matches more methods than "GET /", but fewer paths; write "GET /c/", or "/" for the other`,
		`6 5 when: "POST /d/" has as many conditions as "POST /d/", which matches the same requests; give one of them a condition more`,
		`8 7 match: "GET b.example/" matches fewer methods than "B.example/e", but more paths; write "b.example/", or "GET b.example/e" for the other`,
		`9 -1 match: the path has "//", and pace never cleans a path; remove a slash`,
		`10 -1 when: the field Host is part of the pattern; write "HOST/PATH" in match`,
		`10 -1 when: "X A" is not the name of a header field; write letters, digits and hyphens`,
		`10 -1 when: no field can have the value " 1"; write it without spaces around it and without control characters`,
		`10 -1 when: no field can have the value "1\n"; write it without spaces around it and without control characters`,
		`10 -1 when: the field X-D stands there twice; remove one`,
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Fatalf("fault %d: got\n%q\nwant\n%q", i, got[min(i, len(got)):], want[min(i, len(want)):])
		}
	}
}

// TestRoutes_AreInOrderOfPrecedence checks that no route stands behind one that takes requests before it.
func TestRoutes_AreInOrderOfPrecedence(t *testing.T) {
	made, faults := NewTable([]Entry{
		{Match: "/"},
		{Match: "b.example/"},
		{Match: "/a/{x}"},
		{Match: "GET /a/{x}"},
		{Match: "HEAD /a/{x}"},
		{Match: "/a/b/"},
		{Match: "/a/{$}"},
		{Match: "/a/{x}", When: []Condition{{"A", "1"}}, Name: "one condition"},
		{Match: "/a/{x}", When: []Condition{{"A", "1"}, {"B", "2"}}, Name: "two conditions"},
		{Match: "a.example/"},
		{Match: "/a/"},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	var got []string
	for _, r := range made.Routes() {
		got = append(got, r.Name)
	}
	want := []string{
		"a.example/", "b.example/", "/a/{$}", "/a/b/", "HEAD /a/{x}", "GET /a/{x}",
		"two conditions", "one condition", "/a/{x}", "/a/", "/",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
