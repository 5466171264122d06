package message

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
)

func TestTarget(t *testing.T) {
	for _, tt := range []struct{ method, raw, want string }{
		{"GET", "/", "/"},
		{"GET", "/a?b", "/a?b"},
		{"GET", "/a?", "/a?"},
		{"GET", "/a%2Fb%41?x=%20", "/a%2Fb%41?x=%20"},
		{"GET", "/%2e%2e%2f/%3B|{}^`", "/%2e%2e%2f/%3B|{}^`"},
		{"GET", "//a//b", "//a//b"},
		{"GET", "/a;b?c;d", "/a;b?c;d"},
		{"GET", `/a"b\<>`, `/a"b\<>`},
		{"GET", "/a/../b/./c", "/a/../b/./c"},
		{"GET", "/a://b", "/a://b"},
		// One byte makes no other byte change.
		{"GET", "/a%2Fb/é", "/a%2Fb/%C3%A9"},
		{"GET", "/%2e%2e%2f|%3B#x", "/%2e%2e%2f|%3B%23x"},
		{"GET", "/a%2fb c", "/a%2fb%20c"},
		{"GET", "/a%2f\xff", "/a%2f%FF"},
		{"GET", "/a?b#c", "/a?b%23c"},
		{"GET", "/a?b%2f c", "/a?b%2f%20c"},
		{"GET", "/?é", "/?%C3%A9"},
		// Absolute form is origin form with more in front.
		{"GET", "http://h/a?b", "/a?b"},
		{"GET", "http://h", "/"},
		{"GET", "http://h?q", "/?q"},
		{"GET", "http://h?q/r", "/?q/r"},
		{"GET", "http://h/?", "/?"},
		{"GET", "http://u:p@h:80//a%2Fb|%7e;%3B", "//a%2Fb|%7e;%3B"},
		{"GET", "http://h/a%2Fé", "/a%2F%C3%A9"},
		{"GET", "http://h/a://b/c", "/a://b/c"},
		{"GET", "http:/a://b", "/a://b"},
		{"GET", "HTTPS://[::1]:1/a", "/a"},
		// The server as a whole.
		{"OPTIONS", "*", "*"},
		{"OPTIONS", "http://h", "*"},
		{"OPTIONS", "http://h:8080", "*"},
		{"OPTIONS", "http://h/", "/"},
		{"OPTIONS", "http://h?", "/?"},
		{"OPTIONS", "http://h?q", "/?q"},
	} {
		u, err := url.ParseRequestURI(tt.raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := Target(tt.method, tt.raw, u); got != tt.want {
			t.Errorf("%s %s: got %q, want %q", tt.method, tt.raw, got, tt.want)
		}
	}
}

// FuzzTarget holds what goes out to what came in, byte for byte: each byte of the path and query is
// either itself or its own escape. What is path and what is query says net/url.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/a?b", "//x", "http://h/p", "/é", "/a b?c d", "*", "/%zz", "/a#b", "/\x7f", "http:opaque", "/?a\x80",
		"http://h", "http://h?/", "http:/a://b", "http:///a", "/a%2fb\xff%3b", "h+t.t-p://[::1%25e]:8/?%2f"} {
		f.Add(s, true)
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, raw string, options bool) {
		u, err := url.ParseRequestURI(raw)
		if err != nil || u.Opaque != "" {
			return
		}
		method := "GET"
		if options {
			method = "OPTIONS"
		}
		got := Target(method, raw, u)
		if !plain(got) || got != "*" && !strings.HasPrefix(got, "/") {
			t.Fatalf("%q becomes %q", raw, got)
		}
		if options && u.Host != "" && u.Path == "" && !strings.Contains(raw, "?") {
			if got != "*" {
				t.Fatalf("OPTIONS %q becomes %q", raw, got)
			}
			return
		}
		again, err := url.ParseRequestURI(got)
		if err != nil || again.Path != u.Path && !(u.Path == "" && again.Path == "/") || again.ForceQuery != u.ForceQuery {
			t.Fatalf("%q becomes %q, whose path is %v, %v", raw, got, again, err)
		}
		if !keeps(again.RawQuery, u.RawQuery) {
			t.Fatalf("%q becomes %q, another query", raw, got)
		}
		for from := range len(raw) + 1 {
			if rest := raw[from:]; keeps(got, rest) || u.Path == "" && keeps(got, "/"+rest) {
				return
			}
		}
		t.Fatalf("%q becomes %q, which is not how any part of it came", raw, got)
	})
}

// keeps reports whether got is came with nothing but its misleading bytes escaped, one by one.
func keeps(got, came string) bool {
	for _, c := range []byte(came) {
		want := string([]byte{c})
		if misleading(c) {
			want = fmt.Sprintf("%%%02X", c)
		}
		rest, ok := strings.CutPrefix(got, want)
		if !ok {
			return false
		}
		got = rest
	}
	return got == ""
}
