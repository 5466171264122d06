package route

import (
	"slices"
	"testing"
)

func TestParse(t *testing.T) {
	for _, tt := range []struct{ pattern, method, host, path string }{
		{"/", "", "", "/"},
		{"GET /users/{id}", "GET", "", "/users/{id}"},
		{"PURGE  \t/", "PURGE", "", "/"},
		{"API.Example.com/a%2Fb/{rest...}", "", "api.example.com", "/a%2Fb/{rest...}"},
		{"POST [2001:DB8::0001]/{$}", "POST", "[2001:db8::1]", "/{$}"},
		{"example.com./", "", "example.com", "/"},
		{"/ä/a}b", "", "", "/ä/a}b"},
	} {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Errorf("%q: %v", tt.pattern, err)
		} else if p.Text != tt.pattern || p.Method != tt.method || p.Host != tt.host || p.Path != tt.path {
			t.Errorf("%q: got %+v", tt.pattern, p)
		}
	}
}

func TestParse_Refuses(t *testing.T) {
	for _, tt := range []struct{ pattern, want string }{
		{"", `the pattern is empty; write a pattern such as "GET example.com/users/{id}" or "/"`},
		{"GET", `the pattern "GET" has no path; write "GET /" for all paths`},
		{"example.com", `the pattern "example.com" has no path; write "example.com/" for all paths of the host`},
		{"GET example.com", `the pattern "GET example.com" has no path; write "GET example.com/" for all paths of the host`},
		{"get /", `methods are case-sensitive, and clients send "GET", not "get"; write "GET"`},
		{"CONNECT /", `no route can take CONNECT, because pace rejects every CONNECT; remove the route`},
		{"G@T /", `"G@T" is not a method; write METHOD HOST/PATH, with one space after the method`},
		{" /", `"" is not a method; write METHOD HOST/PATH, with one space after the method`},
		{"/a /b", `"/a" is not a method; write METHOD HOST/PATH, with one space after the method`},
		{"https://example.com/", `the pattern "https://example.com/" has a scheme; write "example.com/"`},
		{"example.com:8080/", `the port of a request is ignored, so a pattern has none, as in "example.com:8080"; write "example.com"`},
		{"*.example.com/", `a host has no wildcards, as in "*.example.com"; write one route for each host, or none for all hosts`},
		{"{host}/", `a host has no wildcards, as in "{host}"; write one route for each host, or none for all hosts`},
		{"bücher.example/", `"bücher.example" is not a host; write an international name in its xn-- form`},
		{"exam,ple/", `"exam,ple" is not a host; write letters, digits, hyphens and dots`},
		{"[::1]:80/", `"[::1]:80" is not a host; write an IPv6 address within the brackets, without a port`},
		{"/a//b", `the path has "//", and pace never cleans a path; remove a slash`},
		{"//", `the path has "//", and pace never cleans a path; remove a slash`},
		{"/a/../b", `the path has a segment "..", and pace never cleans a path; write the path that it means`},
		{"/a/.", `the path has a segment ".", and pace never cleans a path; write the path that it means`},
		{"/%2e%2E/", `the path has a segment "%2e%2E", and pace never cleans a path; write the path that it means`},
		{"/a%zz", `an invalid percent-encoding in "a%zz"; write two hexadecimal digits after "%", or "%25"`},
		{"/a?b=c", `"a?b=c" is not part of a path; match the path alone, or write "%3F" and "%23"`},
		{"/a\x00", `a control character in "a\x00"; remove it`},
		{"/a{x}", `a wildcard is part of the segment "a{x}"; write a wildcard as a whole segment, "/{name}/", "/{name...}" or "/{$}"`},
		{"/{x}a", `a wildcard is part of the segment "{x}a"; write a wildcard as a whole segment, "/{name}/", "/{name...}" or "/{$}"`},
		{"/{x...}/a", `{x...} does not stand last; write a wildcard as a whole segment, "/{name}/", "/{name...}" or "/{$}"`},
		{"/{$}/a", `{$} does not stand last; write a wildcard as a whole segment, "/{name}/", "/{name...}" or "/{$}"`},
		{"/{}", `"" is not the name of a wildcard; write letters, digits and underscores, with a letter first`},
		{"/{a-b}", `"a-b" is not the name of a wildcard; write letters, digits and underscores, with a letter first`},
		{"/{x}/{x}", `two wildcards are named "x"; give each wildcard another name`},
	} {
		_, err := Parse(tt.pattern)
		if err == nil {
			t.Errorf("%q: not refused", tt.pattern)
		} else if err.Error() != tt.want {
			t.Errorf("%q: got\n%s\nwant\n%s", tt.pattern, err, tt.want)
		}
	}
}

func TestValues(t *testing.T) {
	for _, tt := range []struct {
		pattern, path string
		want          []string
	}{
		{"/", "/a/b", nil},
		{"/a/", "/a/b", nil},
		{"/{a}/{b}", "/x/%2e%2Fy", []string{"x", "%2e%2Fy"}},
		{"/{a}/b/{rest...}", "/x/b/c//d/", []string{"x", "c//d/"}},
		{"/{a}/b/{rest...}", "/x/b/", []string{"x", ""}},
		{"/{rest...}", "*", []string{""}},
		{"/{a}/{$}", "/x/", []string{"x"}},
	} {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := p.Values(nil, tt.path); !slices.Equal(got, tt.want) || len(got) != len(p.Wildcards()) {
			t.Errorf("%q for %q: got %q for %q, want %q", tt.pattern, tt.path, got, p.Wildcards(), tt.want)
		}
	}
}
