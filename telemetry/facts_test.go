package telemetry

import (
	"strings"
	"testing"
)

func TestRedact(t *testing.T) {
	allow := map[string]bool{"page": true, "q": true}
	for query, want := range map[string]string{
		"":                          "",
		"page=2":                    "page=2",
		"page=2&token=secret":       "page=2&token=REDACTED",
		"token=a=b":                 "token=REDACTED",
		"secret":                    "REDACTED",
		"page":                      "page",
		"a=1&&page=2":               "a=REDACTED&REDACTED&page=2",
		"q=1;token=secret":          "q=REDACTED", // some backends separate by semicolons
		"page=2&q=x;token=s&page=3": "page=2&q=REDACTED&page=3",
		"%71=secret":                "%71=REDACTED",
		"&page=1":                   "REDACTED&page=1",
		"c2VjcmV0dG9rZW4=":          "REDACTED", // a bare word in base64
		"c2VjcmV0dG9rZQ==":          "REDACTED",
		"token=":                    "REDACTED",
		"page=&q==":                 "page=&q==",
		"secret;a=1":                "REDACTED",
	} {
		if got := redact(query, allow); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}

// FuzzRedact holds that no value comes through whose parameter is not allowed, nor a bare word, however
// the query is written, and whether the backend separates by & or by semicolons.
func FuzzRedact(f *testing.F) {
	f.Add("q=1&token=secret", "secret")
	f.Add("q=1;token=secret&q", "secret")
	f.Add("&&;=&", "x")
	f.Add("c2VjcmV0dG9rZQ==&secret;q=1", "secret")
	f.Fuzz(func(t *testing.T, query, secret string) {
		if len(secret) < 3 || strings.ContainsAny(secret, "&;=REDACTD") {
			return
		}
		allow := map[string]bool{"q": true, "page": true}
		got := redact(query+"&token="+secret, allow)
		if strings.Contains(got[strings.LastIndex(got, "&")+1:], secret) {
			t.Fatalf("the last value came through: %q of %q", got, query)
		}
		for i, pair := range strings.Split(got, "&") {
			was := strings.Split(query+"&token="+secret, "&")[i]
			name, value, _ := strings.Cut(pair, "=")
			if !allow[name] && value != "REDACTED" && pair != "REDACTED" || strings.Contains(pair, ";") {
				t.Fatalf("%q came through as %q", was, pair)
			}
		}
	})
}

func TestHostPort(t *testing.T) {
	for name, tt := range map[string]struct {
		scheme, asked, host string
		port                int
	}{
		"a name without port means the scheme's": {"http", "example.org", "example.org", 80},
		"likewise by TLS":                        {"https", "example.org", "example.org", 443},
		"a name with port":                       {"http", "example.org:8080", "example.org", 8080},
		"an IPv6 address":                        {"http", "[2001:db8::1]", "2001:db8::1", 80},
		"an IPv6 address with port":              {"http", "[2001:db8::1]:81", "2001:db8::1", 81},
		"a port that is none":                    {"http", "example.org:http", "example.org", 0},
		"a port that is too large":               {"http", "example.org:65536", "example.org", 0},
		"an empty port":                          {"http", "example.org:", "example.org", 0},
	} {
		if host, port := hostPort(&Record{Scheme: tt.scheme, Host: tt.asked}); host != tt.host || port != tt.port {
			t.Errorf("%s: got %q and %d, want %q and %d", name, host, port, tt.host, tt.port)
		}
	}
}
