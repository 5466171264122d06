package message

import "testing"

func TestSameHost(t *testing.T) {
	for _, tt := range []struct {
		a, b, scheme string
		want         bool
	}{
		{"a", "a", "http", true}, {"a", "A:80", "http", true}, {"a:443", "a", "https", true}, {"", "", "http", true},
		{"a:443", "a", "http", false}, {"a:80", "a", "https", false}, {"a", "b", "http", false}, {"a", "", "http", false},
		{"[::80]", "[::80]:80", "http", true}, {"a:8080", "a:80", "http", false},
	} {
		if got := SameHost(tt.a, tt.b, tt.scheme); got != tt.want {
			t.Errorf("%q, %q by %s: got %v", tt.a, tt.b, tt.scheme, got)
		}
	}
}
