package show

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/config"
)

// parsed reads a configuration that has no fault.
func parsed(t *testing.T, text string) *config.File {
	t.Helper()
	f, err := config.Parse("proxy.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestChanges(t *testing.T) {
	const minimal = "[upstreams]\nbackends = [\"http://10.0.0.1\", \"http://10.0.0.2:81\"]\n"
	tests := []struct {
		name     string
		from, to string
		want     []string
	}{
		{"another order of tables, comments and defaults change nothing",
			minimal + "[log]\nlevel = \"info\"\n[server]\nidle_timeout = \"75s\"\n", "# new\n[server]\n" + minimal, nil},
		{"a value is told before and after", minimal, minimal + "[server]\nidle_timeout = \"1m\"\n[metrics]\nallow = [\"10.0.0.0/8\"]\n[tracing]\nsample_ratio = 0.5\n[tracing.keep]\nslow = \"2s\"\n",
			[]string{`server.idle_timeout: "1m15s" became "1m0s"`, `metrics.allow: added "10.0.0.0/8"`, `tracing.sample_ratio: 1 became 0.5`, `tracing.keep.slow: "1s" became "2s"`}},
		{"of a list, what came and what went", minimal, strings.Replace(minimal, "10.0.0.1", "10.0.0.3", 1),
			[]string{`upstreams.backends: added "http://10.0.0.3:80", removed "http://10.0.0.1:80"`}},
		{"the order of a list", minimal, "[upstreams]\nbackends = [\"http://10.0.0.2:81\", \"http://10.0.0.1:80\"]\n",
			[]string{`upstreams.backends: in another order`}},
		{"a limit that comes is one change, and the routes on which it holds are others", minimal, minimal + "[rate_limit]\nmax_requests = 7\n",
			[]string{`rate_limit: added`, `route "default".limits: added "default"`}},
		{"checks that come are one change", minimal, minimal + "[upstreams.health]\npath = \"/healthz\"\n", []string{`upstreams.health: added`}},
		{"checks that go", minimal + "health = {}\n", minimal, []string{`upstreams.health: removed`}},
		{"checks of another kind", minimal + "health = {}\n", minimal + "health = { type = \"tcp\", interval = \"1s\" }\n",
			[]string{`upstreams.health.type: "http" became "tcp"`, `upstreams.health.interval: "5s" became "1s"`}},
		{"a limit that goes", minimal + "[rate_limit]\n", minimal + "[rate_limit]\nenabled = false\n",
			[]string{`route "default".limits: removed "default"`, `rate_limit: removed`}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, c := range Changes(parsed(t, tt.from), parsed(t, tt.to)) {
				got = append(got, c.String())
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
		})
	}
}

// A file of ten thousand routes is compared in much less time than it is read in.
func TestChanges_OfManyRoutes(t *testing.T) {
	var b strings.Builder
	b.WriteString("[upstreams]\nbackends = [\"http://10.0.0.1\"]\n")
	for i := range 10_000 {
		fmt.Fprintf(&b, "[[route]]\nmatch = \"/%d/\"\nupstream = \"default\"\n", i)
	}
	text := b.String()
	start := time.Now()
	from := parsed(t, text)
	reading := time.Since(start)
	to := parsed(t, strings.Replace(text, "/9999/", "/other/", 1))
	start = time.Now()
	if got := Changes(from, to); len(got) != 2 {
		t.Errorf("got %v", got)
	}
	if took := time.Since(start); took > 10*reading {
		t.Errorf("comparing took %v, reading %v", took, reading)
	}
}

// Routes that are named by one pattern are distinguished by their order.
func TestChanges_OfRoutesWithOneName(t *testing.T) {
	const text = "[upstreams]\nbackends = [\"http://10.0.0.1\"]\n" +
		"[[route]]\nmatch = \"/\"\nrespond = 200\n[[route]]\nmatch = \"/\"\nwhen = { X-A = \"1\" }\nrespond = 201\n"
	from, to := parsed(t, text), parsed(t, strings.Replace(text, "201", "202", 1))
	if got := fmt.Sprint(Changes(from, to)); got != `[route "/".respond: 201 became 202]` {
		t.Errorf("got %s", got)
	}
	if got := Changes(from, from); got != nil {
		t.Errorf("got %v", got)
	}
}

// A key that no reload may change says so in its documentation, and only such a key does.
func TestChanges_ThatNeedARestartAreDocumented(t *testing.T) {
	for k := range config.Keys() {
		why, needs := restarts[k.Name]
		if needs != strings.Contains(k.Doc, "needs a restart") || needs && why == "" {
			t.Errorf("%s: restarts says %v, the key's doc says %q", k.Name, needs, k.Doc)
		}
	}
	for name := range restarts {
		if !slices.ContainsFunc(slices.Collect(config.Keys()), func(k config.Key) bool { return k.Name == name }) {
			t.Errorf("restarts names %s, which is no key", name)
		}
	}
}

// Every key that a file may hold is a change when it changes: none is forgotten.
func TestChanges_SeeEveryKey(t *testing.T) {
	const minimal = "[upstreams]\nbackends = [\"http://10.0.0.1:80\"]\n"
	for name, value := range map[string]string{
		"server.listen": `"127.0.0.1:81"`, "server.workers": "3", "admin.listen": `""`, "admin.pprof": "true", "admin.hosts": `["x"]`,
		"headers.proxy_name": `"X-Other"`, "server_timing.allow": `["::1/128"]`, "log.level": `"warn"`, "tracing.query_allow": `["q"]`,
	} {
		table, key, _ := strings.Cut(name, ".")
		got := Changes(parsed(t, minimal), parsed(t, fmt.Sprintf("%s[%s]\n%s = %s\n", minimal, table, key, value)))
		if len(got) != 1 || got[0].Key != name {
			t.Errorf("%s: got %v", name, got)
		}
		if got[0].Restart != restarts[name] {
			t.Errorf("%s: got restart %q, want %q", name, got[0].Restart, restarts[name])
		}
	}
}

// A file that is accepted does not differ from itself, and its values can be written as JSON.
func FuzzChanges_OfAFileWithItself(f *testing.F) {
	for _, pattern := range []string{"../testdata/bad/*.toml", "../testdata/*.toml", "../proxy.toml"} {
		files, _ := filepath.Glob(pattern)
		if len(files) == 0 {
			f.Fatalf("no file is called %s", pattern)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := config.Parse("x.toml", data)
		if err != nil {
			return
		}
		if changes := Changes(file, file); len(changes) > 0 {
			t.Errorf("it differs from itself in %v: %q", changes, data)
		}
		if _, err := json.Marshal(Values(file)); err != nil {
			t.Errorf("its values are no JSON: %v: %q", err, data)
		}
	})
}
