package route

import (
	"net/url"
	"strings"
	"testing"
)

func TestLocation(t *testing.T) {
	for _, tt := range []struct{ pattern, redirect, target, want string }{
		{"/old", "https://new.example/new", "/old", "https://new.example/new"},
		{"/old", "https://new.example", "/old?a=b", "https://new.example?a=b"},
		{"/old/{rest...}", "https://new.example/{rest}", "/old/a//b%2Fc/?q=%20&x", "https://new.example/a//b%2Fc/?q=%20&x"},
		{"/{a}/{b}", "/{b}/x/{a}", "/%C3%A4/2", "/2/x/%C3%A4"},
		{"/{a}", "/find?q={a}", "/1?r=2", "/find?q=1&r=2"},
		{"/old/{rest...}", "/{rest}", "/old//evil.example", "/evil.example"},
		{"/old/{rest...}", "/{rest}", `/old/\evil.example`, "/%5Cevil.example"},
		{"/old/{rest...}", "/{rest}", "/old/", "/"},
		{"/{rest...}", "/x/{rest}", "*", "/x/"},
		{"/old", "/new", "/old?", "/new?"},
	} {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRedirect(tt.redirect, p)
		if err != nil {
			t.Errorf("%q: %v", tt.redirect, err)
		} else if got := r.Location(p, tt.target); got != tt.want {
			t.Errorf("%q for %q: got %q, want %q", tt.redirect, tt.target, got, tt.want)
		}
	}
}

func TestParseRedirect_Refuses(t *testing.T) {
	for _, tt := range []struct{ pattern, redirect, want string }{
		{"/{a}/{b}", "https://new.example/{c}", `the pattern "/{a}/{b}" has no wildcard "c"; write one of {a}, {b}`},
		{"/old/", "https://new.example/{rest}", `the pattern "/old/" has no wildcard "rest"; write "{rest}" in the pattern, or remove it here`},
		{"/{a}", "https://{a}.example/", `the wildcard "a" is part of the host, which clients could choose then; write a route for each host`},
		{"/{a}", "https://new.example{a}", `the wildcard "a" is part of the host, which clients could choose then; write a route for each host`},
		{"/{a}", "{a}", `the wildcard "a" is part of the host, which clients could choose then; write a route for each host`},
		{"/{a}", "/x/{a", `a brace is not closed in "/x/{a"; write "{name}"`},
	} {
		p, err := Parse(tt.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseRedirect(tt.redirect, p); err == nil || err.Error() != tt.want {
			t.Errorf("%q: got %v, want %s", tt.redirect, err, tt.want)
		}
	}
}

// FuzzLocation: whatever the path is, the client comes to the host that the configuration names.
func FuzzLocation(f *testing.F) {
	f.Add("/a//evil.example")
	f.Add(`/a/\\evil.example`)
	f.Add("/a/@evil.example/..//..?x")
	f.Fuzz(func(t *testing.T, target string) {
		base, _ := url.Parse("https://old.example/")
		for _, redirect := range []string{"/{rest}", "/x{rest}", "https://new.example/{rest}", "https://new.example?x={rest}"} {
			p, _ := Parse("/a/{rest...}")
			r, err := ParseRedirect(redirect, p)
			if err != nil {
				t.Fatal(err)
			}
			u, ok := url.ParseRequestURI(target)
			if ok != nil || !strings.HasPrefix(target, "/a/") || u.Host != "" {
				t.Skip()
			}
			location := r.Location(p, target)
			led, err2 := base.Parse(location)
			if err2 != nil {
				continue // a query may have anything
			}
			host := base.Host
			if strings.Contains(redirect, "://") {
				host = "new.example"
			}
			if led.Host != host || strings.HasPrefix(location, "//") || strings.HasPrefix(location, `/\`) {
				t.Errorf("%q for %q: %q leads to %q, want %q", redirect, target, location, led.Host, host)
			}
		}
	})
}
