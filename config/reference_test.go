package config

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	burntsushi "github.com/BurntSushi/toml"
)

// write returns the path of a new file with this content.
func write(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestParse_ResolvesReferences(t *testing.T) {
	t.Setenv("PACE_TEST_A", "alpha")
	t.Setenv("PACE_TEST_EMPTY", "")
	t.Setenv("PACE_TEST_REFERENCE", "${env:PACE_TEST_A}")
	for _, tt := range []struct {
		name, written, want string
		isSecret            bool
	}{
		{"a variable", "${env:PACE_TEST_A}", "alpha", true},
		{"an empty variable is set", "${env:PACE_TEST_EMPTY}", "", true},
		{"a variable in the middle, twice", "a ${env:PACE_TEST_A}, b ${env:PACE_TEST_A}.", "a alpha, b alpha.", true},
		{"what a variable has is not read for references", "${env:PACE_TEST_REFERENCE}", "${env:PACE_TEST_A}", true},
		{"a file", "${file:" + write(t, "beta") + "}", "beta", true},
		{"the newline at the end of a file is cut off", "${file:" + write(t, "beta\n") + "}", "beta", true},
		{"so is one of Windows", "${file:" + write(t, "beta\r\n") + "}", "beta", true},
		{"only one newline is cut off", "${file:" + write(t, "a\nb\n\n") + "}", "a\nb\n", true},
		{"a reference that is escaped is text", "$${env:PACE_TEST_A}", "${env:PACE_TEST_A}", false},
		{"two dollars without a brace are two dollars", "a$$b $5 {$}", "a$$b $5 {$}", false},
		{"a dollar before an escaped reference", "$$${x", "$${x", false},
		{"an escaped reference before another one", "$${x}${env:PACE_TEST_A}", "${x}alpha", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, err := Parse("x.toml", []byte("[upstreams]\nbackends = [\"http://10.0.0.1\"]\n[[route]]\nmatch = \"/\"\nrespond = 200\nbody = '"+tt.written+"'\n"))
			if err != nil {
				t.Fatal(err)
			}
			if got, secret := f.Routes[0].Body, f.IsSecret("route[0].body"); got != tt.want || secret != tt.isSecret {
				t.Errorf("%s is %q, secret %v; want %q, %v", tt.written, got, secret, tt.want, tt.isSecret)
			}
		})
	}
}

func TestParse_ResolvesReferencesEverywhere(t *testing.T) {
	t.Setenv("PACE_TEST_A", "alpha")
	f, err := Parse("x.toml", []byte(`
server = { idle_timeout = "1${env:PACE_TEST_UNIT}" }
[upstream."${env:PACE_TEST_A}"]
backends = ["http://${env:PACE_TEST_A}:1", { url = "http://${env:PACE_TEST_A}:2", weight = 2 }]
`))
	if err == nil || !strings.Contains(err.Error(), `x.toml:2: server.idle_timeout: the variable "PACE_TEST_UNIT" is not set`) {
		t.Errorf("got %v, want the fault of the duration", err)
	}
	if len(f.NamedUpstreams) != 1 || f.NamedUpstreams[0].Name != "${env:PACE_TEST_A}" {
		t.Fatalf("got %+v, want a name as it is written", f.NamedUpstreams)
	}
	want := []Backend{{"http", "alpha:1", 1}, {"http", "alpha:2", 2}}
	if got := f.NamedUpstreams[0].Backends; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParse_LimitsReferences(t *testing.T) {
	t.Setenv("PACE_TEST_BINARY", "a\xffb")
	large := "${file:" + write(t, strings.Repeat("x", maxReferenced)) + "}"
	for _, tt := range []struct{ name, written, want string }{
		{"a file of 64 KiB and one byte", "${file:" + write(t, strings.Repeat("x", maxReferenced+1)) + "}", "is larger than 64 KiB; name a file"},
		{"what is no text", "${env:PACE_TEST_BINARY}", "is not text in UTF-8; write text there"},
		{"a NUL byte", "${file:" + write(t, "a\x00b") + "}", "is not text in UTF-8; write text there"},
		{"a device", "${file:/dev/zero}", "/dev/zero is no regular file; name a file"},
		{"the same file again and again", strings.Repeat(large, 17), "what all references stand for has more than 1 MiB; refer to less"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.toml", []byte("[[route]]\nmatch = \"/\"\nrespond = 200\nbody = '"+tt.written+"'\n"))
			if err == nil || !strings.Contains(err.Error(), "x.toml:4: route[0].body: ") || !strings.Contains(err.Error(), tt.want) || len(Faults(err)) != 1 {
				t.Errorf("got %.300v, want one fault with %q", err, tt.want)
			}
		})
	}
}

// A reference may stand in every string of a file, and no fault shows what it stands for: neither the fault of its own
// key, which knows best what is wrong with the value, nor another one.
func TestFaults_ShowNoSecret(t *testing.T) {
	text, err := os.ReadFile("testdata/every_key.toml")
	if err != nil {
		t.Fatal(err)
	}
	refused := 0
	for path := range everyString(t, text) {
		for _, secret := range []string{
			"hunter2-hunter2", "http://user:hunter2@hunter2:99999/hunter2?hunter2", " HUNTER2\n", "/a/../hunter2 {hunter2}",
			strings.Repeat("hunter2 ", 200),
		} {
			t.Setenv("PACE_TEST_SECRET", secret)
			_, err := Parse("x.toml", withReference(t, text, path))
			for _, f := range Faults(err) {
				refused++
				if strings.Contains(strings.ToLower(f.Error()), "hunter") {
					t.Errorf("%s = %q: %v", path, secret, f)
				}
				if f.Key == path && !strings.HasPrefix(f.What, "expected ") && (!strings.Contains(f.What, "${env:PACE_TEST_SECRET}") || !strings.HasSuffix(f.Remedy, " there")) {
					t.Errorf("%s = %q: %v, want where the value comes from", path, secret, f)
				}
			}
		}
	}
	if refused < 200 {
		t.Errorf("only %d faults", refused)
	}
}

// everyString yields the paths of the strings in a file.
func everyString(t *testing.T, text []byte) func(yield func(string) bool) {
	t.Helper()
	f, err := Parse("x.toml", text)
	if err != nil {
		t.Fatal(err)
	}
	var tree map[string]any
	if _, err := burntsushi.Decode(string(text), &tree); err != nil {
		t.Fatal(err)
	}
	return func(yield func(string) bool) {
		for path := range f.lines {
			if _, isString := at(find(tree, segments(path)), segments(path)).(string); isString && !yield(path) {
				return
			}
		}
	}
}

// at returns what a table or list has under the last segment of a path.
func at(in any, path []string) any {
	last := path[len(path)-1]
	switch v := in.(type) {
	case map[string]any:
		return v[last]
	case []any:
		return v[index(last)]
	}
	return nil
}

// withReference returns a file whose string at a path is a reference.
func withReference(t *testing.T, text []byte, path string) []byte {
	t.Helper()
	var tree map[string]any
	if _, err := burntsushi.Decode(string(text), &tree); err != nil {
		t.Fatal(err)
	}
	set(tree, segments(path), "${env:PACE_TEST_SECRET}")
	var b bytes.Buffer
	if err := burntsushi.NewEncoder(&b).Encode(tree); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// A fault of one key may name the value of another one.
func TestFaults_ShowNoSecretOfAnotherKey(t *testing.T) {
	t.Setenv("PACE_TEST_SECRET", "hunter2.example:4711")
	for _, tt := range []struct{ name, text, want string }{
		{"two listeners at one address", "[server]\nlisten = \"${env:PACE_TEST_SECRET}\"\n[admin]\nlisten = \":4711\"\n[upstreams]\nbackends = [\"http://10.0.0.1\"]\n",
			`x.toml:4: admin.listen: server.listen is "***" and admin.listen is ":4711", and only one of them can have the port; `},
		{"a backend that is a listener", "[server]\nlisten = \"${env:PACE_TEST_SECRET}\"\n[upstreams]\nbackends = [\"http://Hunter2.example:4711\"]\n",
			`x.toml:4: upstreams.backends[0]: "http://***" is pace itself, which listens on "***"; `},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse("x.toml", []byte(tt.text))
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) || strings.Contains(strings.ToLower(err.Error()), "hunter2") {
				t.Errorf("got  %v\nwant %s…", err, tt.want)
			}
		})
	}
}
