package route

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
)

// TestMatch_WhatDiffersFromServeMux is the table of docs/decisions/0014-paths-as-they-came.md, and more: the patterns are / and those of the
// row, and the last column is what ServeMux does.
func TestMatch_WhatDiffersFromServeMux(t *testing.T) {
	for _, tt := range []struct {
		name, pattern, host, path string
		pace, servemux            string
	}{
		{"an empty segment that leads nowhere else is forwarded", "/a/", "", "/a//b", "/a/", "307 /a/b"},
		{"an empty segment before a route is refused", "/a/", "", "//a/b", "400", "307 /a/b"},
		{"an empty segment that hides a wildcard is refused", "/a/{x}", "", "/a//b", "400", "307 /a/b"},
		{"dots that lead to a route are refused", "/a/", "", "/b/../a/x", "400", "307 /a/x"},
		{"encoded dots that lead to a route are refused", "/a/", "", "/b/%2e%2E/a/x", "400", "/"},
		{"dots that lead out of a route are refused", "/a/", "", "/a/../b", "400", "307 /b"},
		{"dots within a route are forwarded", "/a/", "", "/a/b/../c", "/a/", "307 /a/c"},
		{"dots in the end that lead to the route itself are refused, if some resolve them to what it does not match", "/a/", "", "/a/b/..", "400", "307 /a/"},
		{"a dot segment is refused where it hides the end", "/a/{$}", "", "/a/.", "400", "307 /a/"},
		{"three dots are a name", "/.../", "", "/.../b", "/.../", "/.../"},
		{"an encoded slash separates nothing", "/a/", "", "/a%2Fb", "/", "/"},
		{"an encoded slash is part of a segment", "/a/{x}", "", "/a/b%2Fc", "/a/{x}", "/a/{x}"},
		{"an encoded slash is not the slash that ends a path", "/a/{$}", "", "/a/%2F", "/", "/a/{$}"},
		{"an encoded slash alone is a segment", "/a/{x}", "", "/a/%2F", "/a/{x}", "/"},
		{"an encoded segment is the same", "/admin/", "", "/%61dmin/x", "/admin/", "/admin/"},
		{"nothing is decoded twice", "/admin/", "", "/%2561dmin/x", "/", "/"},
		{"a path without its slash has another route", "/a/", "", "/a", "/", "307 /a/"},
		{"a host in capitals is the same", "h.example/", "H.Example", "/", "h.example/", "/"},
		{"a host with a dot in the end is the same", "h.example/", "h.example.:80", "/", "h.example/", "/"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			patterns := []string{"/", tt.pattern}
			made := table(t, patterns...)
			got := "400"
			if r := made.Match(Request{Method: "GET", Host: tt.host, Path: tt.path}); r.Route != nil {
				got = r.Route.Pattern.Text
			} else if r.Miss != BadPath {
				t.Fatalf("got %+v", r)
			}
			if got != tt.pace {
				t.Errorf("%q for %q: got %s, want %s", tt.path, tt.pattern, got, tt.pace)
			}
			mux := http.NewServeMux()
			for _, p := range patterns {
				mux.HandleFunc(p, func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(r.Pattern)) })
			}
			r := httptest.NewRequest("GET", "/", nil)
			u, err := url.Parse("http://x" + tt.path)
			if err != nil {
				t.Fatal(err)
			}
			r.URL, r.Host = u, tt.host
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, r)
			theirs := w.Body.String()
			if w.Code != 200 {
				theirs = "307 " + w.Header().Get("Location")
			}
			if theirs != tt.servemux {
				t.Errorf("%q for %q: ServeMux does %s, want %s", tt.path, tt.pattern, theirs, tt.servemux)
			}
		})
	}
}

func TestResolutions(t *testing.T) {
	for _, tt := range []struct {
		path string
		want []string
	}{
		{"/a//b", []string{"/a/b"}},
		{"/a//../b", []string{"/a/../b", "/a/b", "/b"}},
		{"/a/./b", []string{"/a/b"}},
		{"/a/b/..", []string{"/a/", "/a"}},
		{"/a/b/%2e%2E/", []string{"/a/"}},
		{"/a/.", []string{"/a/", "/a"}},
		{"/..", []string{"/"}},
		{"/../../a", []string{"/a"}},
		{"//", []string{"/"}},
		{"/a/", nil},
		{"/.%2e./a", nil},
	} {
		got := resolutions(tt.path)
		if len(got) != len(tt.want) {
			t.Errorf("%s: got %q, want %q", tt.path, got, tt.want)
		}
		for _, p := range tt.want {
			if !slices.Contains(got, p) {
				t.Errorf("%s: got %q, want %s among them", tt.path, got, p)
			}
		}
		if clean := tt.want == nil; unclean(tt.path) == clean {
			t.Errorf("%s: unclean is %v", tt.path, !clean)
		}
	}
}

// FuzzResolve has two oracles for paths without percent-encoding: net/url resolves dots and keeps slashes,
// path.Clean does both.
func FuzzResolve(f *testing.F) {
	for _, p := range []string{"/a//../b", "/../.", "//..//x/", "/a/b/../", "/.../..a/..", "/"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p string) {
		if !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "%?#\\") {
			t.Skip()
		}
		want := path.Clean(p)
		if got := resolve(p, true, true); got != want && got != want+"/" {
			t.Errorf("%q: got %q, path.Clean %q", p, got, want)
		}
		base := &url.URL{Scheme: "http", Host: "x", Path: "/"}
		want = base.ResolveReference(&url.URL{Path: p}).Path // without the slashes that the first one is followed by
		if got := resolve(p, false, true); strings.TrimLeft(got, "/") != strings.TrimLeft(want, "/") || got[0] != '/' {
			t.Errorf("%q: got %q, net/url %q", p, got, want)
		}
	})
}
