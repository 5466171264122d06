package watch

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A change of any of these paths may change the file: the symbolic links on its path, and their targets.
func TestPlaces(t *testing.T) {
	root, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	for _, folder := range []string{"plain", "map/..2026_a", "releases/1"} {
		if err := os.MkdirAll(at(folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"plain/proxy.toml", "map/..2026_a/proxy.toml", "releases/1/proxy.toml"} {
		if err := os.WriteFile(at(file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"map/..data": "..2026_a", "map/proxy.toml": "..data/proxy.toml", // as Kubernetes mounts a ConfigMap
		"current": "releases/1", "circle": "circle", "far.toml": at("current/proxy.toml"),
	} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		name, file string
		want       []string
	}{
		{"a plain file", "plain/proxy.toml", []string{"plain/proxy.toml"}},
		{"a file that is not there yet", "plain/new.toml", []string{"plain/new.toml"}},
		{"a ConfigMap", "map/proxy.toml", []string{"map/..2026_a/proxy.toml", "map/..data", "map/proxy.toml"}},
		{"a link to a folder", "current/proxy.toml", []string{"current", "releases/1/proxy.toml"}},
		{"a link to a file behind one", "far.toml", []string{"current", "far.toml", "releases/1/proxy.toml"}},
		{"links in a circle end", "circle", []string{"circle"}},
	} {
		var want []string
		for _, place := range tt.want {
			want = append(want, at(place))
		}
		slices.Sort(want)
		if got := watchedPaths([]string{at(tt.file)}); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, want)
		}
	}
}
