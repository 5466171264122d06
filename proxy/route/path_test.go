package route

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"testing"
)

// TestMatch_WhatDiffersFromServeMux is the table of docs/interface.md: the patterns are / and those of the
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
		{"/a//b", []string{"/a/b", "/a//b"}},
		{"/a//../b", []string{"/a/../b", "/a/b", "/b"}},
		{"/a/./b", []string{"/a/./b", "/a/b"}},
		{"/a/b/..", []string{"/a/b/..", "/a/", "/a"}},
		{"/a/b/%2e%2E/", []string{"/a/b/%2e%2E/", "/a/"}},
		{"/a/.", []string{"/a/.", "/a/", "/a"}},
		{"/..", []string{"/..", "/"}},
		{"/../../a", []string{"/../../a", "/a"}},
		{"//", []string{"/", "//"}},
		{"/a/", []string{"/a/"}},
		{"/.%2e./a", []string{"/.%2e./a"}},
	} {
		got := resolutions(tt.path)
		for _, p := range tt.want {
			if !slices.Contains(got, p) {
				t.Errorf("%s: got %q, want %s among them", tt.path, got, p)
			}
		}
		for _, p := range got {
			if !slices.Contains(tt.want, p) {
				t.Errorf("%s: got %s, want %q", tt.path, p, tt.want)
			}
		}
		if clean := len(tt.want) == 1; unclean(tt.path) == clean {
			t.Errorf("%s: unclean is %v", tt.path, !clean)
		}
	}
}
