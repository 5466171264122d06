package dashboards

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFiles_AreTheSameAtEachCall(t *testing.T) {
	once, again := files(t), files(t)
	for i, f := range once {
		if !bytes.Equal(f.Text, again[i].Text) {
			t.Errorf("%s differs from call to call", f.Name)
		}
	}
}

// The golden file of the rules lets promtool read them next to its cases, and a reviewer read a change.
func TestFiles_RulesAreGolden(t *testing.T) {
	const golden = "testdata/pace-rules.yml"
	got := rulesYAML(rules(nil))
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run go test ./dashboards -update, and read the difference", golden)
	}
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "the", "way")
	for range 2 { // the second time over the files of the first
		paths, err := Write(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range files(t) {
			got, err := os.ReadFile(paths[i])
			if err != nil || !bytes.Equal(got, f.Text) {
				t.Errorf("%s is not what Files returns (%v)", paths[i], err)
			}
		}
	}
}

func TestWrite_SaysWhatToDo(t *testing.T) {
	tests := map[string]func(t *testing.T, dir string) string{
		"a file stands where the folder should be": func(t *testing.T, dir string) string {
			path := filepath.Join(dir, "file")
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		},
		"a folder stands where the file should be": func(t *testing.T, dir string) string {
			if err := os.Mkdir(filepath.Join(dir, "pace-rules.yml"), 0o700); err != nil {
				t.Fatal(err)
			}
			return dir
		},
	}
	for name, obstruct := range tests {
		t.Run(name, func(t *testing.T) {
			dir := obstruct(t, t.TempDir())
			_, err := Write(dir, nil)
			if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "--out") {
				t.Errorf("Write(%q): got %v, want an error with the path and --out", dir, err)
			}
		})
	}
}

func files(t *testing.T) []File {
	t.Helper()
	list, err := Files(nil)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// With the routes of a configuration, the dashboard offers these, and each has its own limit for slowness.
func TestFiles_OfAConfiguration(t *testing.T) {
	list, err := Files([]Route{{Name: "GET /users/{id}", Slow: 2 * time.Second}, {Name: "a,b"}, {Name: "rest", Slow: time.Millisecond}})
	if err != nil {
		t.Fatal(err)
	}
	overview, rules := string(list[0].Text), string(list[1].Text)
	if want := `"query": "GET /users/{id},a\\,b,rest"`; !strings.Contains(overview, want) {
		t.Errorf("the dashboard does not have %s", want)
	}
	want := recordedP99 + `{pace_route="GET /users/{id}"} > 2 or ` + recordedP99 + `{pace_route="rest"} > 0.001`
	if !strings.Contains(rules, want) {
		t.Errorf("the rules do not have %s", want)
	}
}
