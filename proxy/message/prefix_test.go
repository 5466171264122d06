package message

import "testing"

func TestPrefixes_Rewrite(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, strip, add, target, want string
	}{
		{"nothing changes without prefixes", "", "", "/a//b?q", "/a//b?q"},
		{"a segment is stripped", "/api", "", "/api/x?q=/api", "/x?q=/api"},
		{"nothing is left but the root", "/api", "", "/api?q", "/?q"},
		{"a slash at the end stays", "/api", "", "/api/", "/"},
		{"a part of a segment is no prefix", "/api", "", "/apis/x", "/apis/x"},
		{"several segments are stripped", "/a/b", "", "/a/b/c", "/c"},
		{"a path that ends within the prefix is left alone", "/a/b", "", "/a", "/a"},
		{"segments are compared decoded, and what is left stays as it came", "/api", "", "/%61pi/%2Fx/..%2f", "/%2Fx/..%2f"},
		{"an encoded slash separates nothing", "/a/b", "", "/a%2Fb/c", "/a%2Fb/c"},
		{"a prefix is added", "", "/v2", "/x", "/v2/x"},
		{"one prefix replaces another", "/old", "/new", "/old/x", "/new/x"},
		{"also where nothing follows", "/old", "/new", "/old", "/new"},
		{"OPTIONS * is about no path", "/old", "/new", "*", "*"},
		{"an empty segment stays", "/api", "", "/api//x", "//x"},
	} {
		if got := (Prefixes{Strip: tt.strip, Add: tt.add}).Rewrite(tt.target); got != tt.want {
			t.Errorf("%s: %q becomes %q, want %q", tt.name, tt.target, got, tt.want)
		}
	}
}

// What a backend gets is a part of what the client sent, behind what is added.
func FuzzPrefixes(f *testing.F) {
	f.Add("/api", "/v2", "/api/x%2F?q")
	f.Fuzz(func(t *testing.T, strip, add, target string) {
		if strip != "" && strip[0] != '/' || add != "" && add[0] != '/' || target == "" || target[0] != '/' {
			return
		}
		got := Prefixes{Strip: strip, Add: add}.Rewrite(target)
		if got == "" || got[0] != '/' {
			t.Fatalf("%q with %q and %q becomes %q, which is no path", target, strip, add, got)
		}
		if rest := got[len(add):]; len(rest) > len(target) || rest != "" && rest != target[len(target)-len(rest):] && rest[0] != '/' {
			t.Fatalf("%q with %q and %q becomes %q", target, strip, add, got)
		}
	})
}
