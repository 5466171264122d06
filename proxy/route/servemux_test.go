package route

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// sets is how many random sets of patterns are held to ServeMux: -args -sets 100000 takes some minutes.
var sets = flag.Int("sets", 2000, "random sets of patterns to hold to net/http.ServeMux")

// TestMatch_AgreesWithServeMux registers random sets of patterns in both, one after the other, and compares
// the conflicts; then it compares the routes of random requests with clean paths.
func TestMatch_AgreesWithServeMux(t *testing.T) {
	tally := map[string]int{}
	for seed := range uint64(*sets) {
		draw := rand.New(rand.NewPCG(seed, 12))
		both := newBoth()
		for range 1 + draw.IntN(12) {
			tally[both.register(t, randomPattern(draw))]++
		}
		for range 8 {
			tally[both.compare(t, randomRequest(draw))]++
		}
		if t.Failed() {
			t.Fatalf("seed %d: patterns %q", seed, both.patterns)
		}
	}
	for _, word := range []string{"registered", "conflict", "route", "none", "method", "redirect"} {
		if tally[word] < *sets/20 {
			t.Errorf("%s: seen %d times in %d sets, too few to mean anything", word, tally[word], *sets)
		}
	}
	t.Log(tally)
}

// both are the same patterns in a ServeMux and here.
type both struct {
	mux      *http.ServeMux
	index    *conflictIndex
	patterns []string
	table    *Table // nil: there are new patterns
}

func newBoth() *both { return &both{mux: http.NewServeMux(), index: newConflictIndex(0)} }

type handler struct{ http.Handler }

// register adds a pattern to both, and reports whether they refuse it for the same reason.
func (b *both) register(t *testing.T, pattern string) string {
	theirs := ""
	func() {
		defer func() {
			if p := recover(); p != nil {
				theirs = fmt.Sprint(p)
			}
		}()
		b.mux.Handle(pattern, handler{http.NotFoundHandler()})
	}()
	p, err := Parse(pattern)
	if err != nil {
		if theirs == "" {
			t.Errorf("%q: only refused here: %v", pattern, err)
		}
		return "refused"
	}
	r := &Route{Index: len(b.patterns), Pattern: p}
	other := b.index.conflict(r)
	if conflicts := strings.Contains(theirs, "conflicts with"); conflicts != (other != nil) || theirs != "" && !conflicts {
		t.Errorf("%q: ServeMux says %q, here it conflicts with %+v", pattern, theirs, other)
	}
	if other != nil {
		if f := conflict(r, other); f.Key != "match" || f.What == "" || f.Remedy == "" {
			t.Errorf("%q and %q: got %+v", pattern, other.Pattern.Text, f)
		}
		return "conflict"
	}
	b.index.add(r)
	b.patterns, b.table = append(b.patterns, pattern), nil
	return "registered"
}

// compare sends a request to both.
func (b *both) compare(t *testing.T, r *http.Request) string {
	if b.table == nil {
		entries := make([]Entry, len(b.patterns))
		for i, p := range b.patterns {
			entries[i] = Entry{Match: p}
		}
		var faults []Fault
		if b.table, faults = NewTable(entries); faults != nil {
			t.Fatalf("%q: %+v", b.patterns, faults)
		}
	}
	path := r.URL.EscapedPath()
	got := b.table.Match(Request{Method: r.Method, Host: r.Host, Path: path})
	h, pattern := b.mux.Handler(r)
	if _, ours := h.(handler); ours {
		if got.Route == nil || got.Route.Pattern.Text != pattern {
			t.Errorf("%s %s%s: got %+v, ServeMux has %q", r.Method, r.Host, path, got, pattern)
		}
		return "route"
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	switch w.Code {
	case http.StatusTemporaryRedirect: // to the path with a slash, which we never do
		return "redirect"
	case http.StatusMethodNotAllowed:
		allow := got.Allow
		if !strings.HasSuffix(path, "/") { // ServeMux would redirect there first
			allow = append(allow, b.table.Match(Request{Method: r.Method, Host: r.Host, Path: path + "/"}).Allow...)
			slices.Sort(allow)
			allow = slices.Compact(allow)
		}
		if want := w.Header().Get("Allow"); got.Route != nil || strings.Join(allow, ", ") != want {
			t.Errorf("%s %s%s: got %+v and methods %q, ServeMux has %q", r.Method, r.Host, path, got, allow, want)
		}
		return "method"
	}
	if got.Route != nil || got.Miss != NoRoute {
		t.Errorf("%s %s%s: got %+v, ServeMux has none", r.Method, r.Host, path, got)
	}
	return "none"
}

func pick[T any](draw *rand.Rand, from ...T) T { return from[draw.IntN(len(from))] }

func randomPattern(draw *rand.Rand) string {
	var p strings.Builder
	p.WriteString(pick(draw, "", "", "", "GET ", "GET  ", "HEAD ", "POST ", "PURGE\t"))
	p.WriteString(pick(draw, "", "", "", "a.example", "b.example"))
	for n := range draw.IntN(4) {
		p.WriteString("/" + pick(draw, "a", "b", "c", "%61", "a%2Fb", "ä", "é%C3%A4", fmt.Sprintf("{w%d}", n), fmt.Sprintf("{w%d}", n)))
	}
	p.WriteString(pick(draw, "", "/", "/{$}", "/{rest...}"))
	if s := p.String(); strings.Contains(s, "/") {
		return s
	}
	return p.String() + "/"
}

func randomRequest(draw *rand.Rand) *http.Request {
	var path strings.Builder
	for range draw.IntN(4) {
		path.WriteString("/" + pick(draw, "a", "b", "c", "%61", "%62", "a%2Fb", "a%2fb", "%C3%A4", "x", "...", "%2e%2e%2e"))
	}
	path.WriteString(pick(draw, "", "/"))
	if path.Len() == 0 {
		path.WriteString("/")
	}
	r := httptest.NewRequest("GET", path.String(), nil)
	r.Method = pick(draw, "GET", "GET", "HEAD", "POST", "PURGE", "OPTIONS", "get")
	r.Host = pick(draw, "", "a.example", "a.example:8080", "b.example", "c.example")
	return r
}

// FuzzMatch has ServeMux as its oracle, for two patterns and a request.
func FuzzMatch(f *testing.F) {
	for _, s := range [][5]string{
		{"/", "GET /a/{x}", "GET", "", "/a/b"},
		{"/{x}/b", "/a/{x...}", "GET", "", "/a/b"},
		{"a.example/%61", "/a/{$}", "POST", "a.example:80", "/a/"},
		{"GET a.example/{x}/", "HEAD /{x}/{y}", "HEAD", "a.example", "/%61/b%2Fc"},
	} {
		f.Add(s[0], s[1], s[2], s[3], s[4])
	}
	f.Fuzz(func(t *testing.T, p1, p2, method, host, target string) {
		r, err := http.NewRequest("GET", target, nil)
		if err != nil {
			t.Skip()
		}
		r.Method, r.Host = method, host
		path := r.URL.EscapedPath()
		table := newBoth()
		for _, p := range []string{p1, p2} {
			if oddPattern(p) {
				t.Skip()
			}
			table.register(t, p)
		}
		if path == "" || path[0] != '/' || unclean(path) || method == "CONNECT" || oddHost(host) || oddPath(path) {
			// Nothing to compare with; what there is must still be right.
			if path == "" || path[0] != '/' || unclean(path) {
				table.withoutOracle(t, Request{Method: method, Host: host, Path: path})
			}
			return
		}
		table.compare(t, r)
	})
}

// withoutOracle checks what must hold of every request: a match is the same as that of all resolutions.
func (b *both) withoutOracle(t *testing.T, r Request) {
	var entries []Entry
	for _, p := range b.patterns {
		entries = append(entries, Entry{Match: p})
	}
	table, faults := NewTable(entries)
	if faults != nil {
		t.Fatalf("%q: %+v", b.patterns, faults)
	}
	got := table.Match(r)
	if got.Route == nil {
		return
	}
	for _, path := range resolutions(r.Path) {
		if other := table.find(r, path); other != got.Route {
			t.Errorf("%+v: got %+v, but %q has %+v", r, got, path, other)
		}
	}
}

// oddPattern reports whether the two read a pattern differently on purpose. What we refuse in it, ServeMux
// takes: see TestParse.
func oddPattern(s string) bool {
	_, err := Parse(s)
	p, _, _ := strings.Cut(s, "/")
	return err != nil || p != strings.ToLower(p) && strings.Contains(s, "/") && hostOf(s) != strings.ToLower(hostOf(s)) || strings.Contains(strings.ToUpper(s), "%2F") || strings.ContainsAny(hostOf(s), "[.") && strings.HasSuffix(hostOf(s), ".") || strings.HasPrefix(hostOf(s), "[")
}

func hostOf(pattern string) string {
	if i := strings.IndexAny(pattern, " \t"); i >= 0 {
		pattern = strings.TrimLeft(pattern[i:], " \t")
	}
	host, _, _ := strings.Cut(pattern, "/")
	return host
}

// oddHost reports whether the two read a host differently on purpose.
func oddHost(s string) bool {
	return s != strings.ToLower(s) || strings.ContainsAny(s, "[]") || strings.HasSuffix(portless(s), ".") || strings.Count(s, ":") > 1 || strings.HasSuffix(s, ".")
}

// oddPath reports whether a segment is an encoded slash, which ServeMux takes for the slash that ends a path.
func oddPath(path string) bool { return strings.Contains(strings.ToUpper(path), "%2F") }
