package config

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	burntsushi "github.com/BurntSushi/toml"

	"pace/config/toml"
)

var update = flag.Bool("update", false, "rewrite golden files")

// TestRefusals holds every file of testdata/bad to the faults beside it.
func TestRefusals(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil || len(files) < 40 {
		t.Fatalf("%d files, %v; want 40 at least", len(files), err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".toml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(name, data)
			if err == nil {
				t.Fatal("accepted")
			}
			golden(t, strings.TrimSuffix(file, ".toml")+".txt", err.Error()+"\n")
		})
	}
}

// Every key has a bad golden file, in which it is refused; testdata/every_key.toml is the good one of all.
func TestRefusals_OfEveryKey(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.toml")
	if err != nil {
		t.Fatal(err)
	}
	refused := map[string]bool{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = Parse(file, data)
		for _, f := range Faults(err) {
			for path := f.Key; path != ""; path = path[:max(strings.LastIndexAny(path, ".["), 0)] {
				refused[patternOf(path)] = true
			}
		}
	}
	for k := range Keys() {
		if !refused[k.Name] {
			t.Errorf("no file in testdata/bad has a fault of %s", k.Name)
		}
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got\n%swant, in %s,\n%s", got, file, want)
	}
}

func TestParse_KeepsTheOlderProxysFileWorking(t *testing.T) {
	f, err := Load("proxy.toml")
	if err != nil {
		t.Fatal(err)
	}
	want := Default()
	want.Server.Listen, want.Server.Workers = "0.0.0.0:8080", 4
	want.Upstreams.Backends = []Backend{{"http", "127.0.0.1:8000", 1}, {"http", "127.0.0.1:8001", 1}}
	want.RateLimit = &RateLimit{true, 10, 60, "client_ip", 1_000_000}
	want.Metrics = Metrics{Enabled: true, Endpoint: "/metrics"}
	if !reflect.DeepEqual(f.Config, want) {
		t.Errorf("got %+v, want %+v", f.Config, want)
	}
}

// The words of the contract: interface.md, "Configuration".
func TestDefault(t *testing.T) {
	want := Config{
		Server: Server{Listen: "0.0.0.0:8080", DrainTimeout: 30 * time.Second, ReadHeaderTimeout: 10 * time.Second,
			IdleTimeout: 75 * time.Second, BodyTimeout: time.Minute, DeliverTimeout: time.Minute, MaxHeaderBytes: 65536, MaxStreams: 250},
		Admin: Admin{Listen: "127.0.0.1:9464"},
		Upstreams: Upstreams{MaxRetries: 1, ConnectTimeout: time.Second, ResponseTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 65536, MaxIdlePerBackend: 512, IdleTimeout: time.Minute, DrainStreams: 5 * time.Minute, Resolve: 30 * time.Second, Policy: "round_robin", HashBy: "client_ip",
			Ejection: Ejection{true, 5, 0.5, 20, 10 * time.Second, 10 * time.Second, 5 * time.Minute, 0.5},
			TLS:      TLS{Verify: true},
			Retry:    Retry{On: []string{"connect_failed", "connect_timeout", "upstream_reset"}, Budget: 0.2}},
		Metrics: Metrics{Enabled: true, Endpoint: "/metrics"},
		Tracing: Tracing{SampleRatio: 1, Protocol: "grpc", Trust: "all", ResponseHeader: "X-Trace-Id",
			Keep: Keep{Enabled: true, Slow: time.Second, PerSecond: 50, PerReason: 10, Recent: 1000}},
		Log:     Log{Format: "auto", Level: "info", SlowAfter: 30 * time.Second},
		Headers: Headers{ProxyName: "X-Proxy", ProxyValue: "pace", BackendName: "X-Backend"},
	}
	if got := Default(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestParse_ReadsEveryKey(t *testing.T) {
	f, err := Load("testdata/every_key.toml")
	if err != nil {
		t.Fatal(err)
	}
	for k := range Keys() {
		if !f.holds(k) {
			t.Errorf("testdata/every_key.toml lacks %s", k.Name)
		}
	}
	spare := Default().Upstreams
	spare.Backends = []Backend{{"http", "10.0.0.9:80", 1}}
	want := Config{
		Server: Server{":0", 2, 0, 0, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::/0")},
			time.Millisecond, 24 * time.Hour, 0, 0, 1024, 1 << 50, 10_000_000, 1, 10_000},
		Admin: Admin{"", true, "/etc/pace/token", []string{"pace.example.com", "::1"}},
		Upstreams: Upstreams{[]Backend{{"http", "example.com:80", 1}, {"http", "[::1]:8000", 1}, {"http", "[fe80::1%eth0]:80", 1},
			{"http", "10.0.0.1:81", 1}, {"http", "my_app-1:8000", 2}, {"unix", "/run/app.sock", 1},
			{"https", "api.example:443", 1}, {"h2", "[::2]:443", 1}, {"h2c", "10.0.0.3:50051", 1}},
			0, 1500 * time.Millisecond, 90 * time.Second, 10 * time.Second, 16 << 20, 1, time.Hour, 100, 50, 0, 0, "hash", "header:X-Tenant", "backend",
			30 * time.Second, Ejection{false, 0, 1, 1, time.Second, time.Millisecond, 24 * time.Hour, 0.25},
			&Health{"whatever", "/healthz?deep=1", "app.example:8080", "200-299, 404", 10 * time.Millisecond, 10 * time.Minute, 1, 1000, 65535},
			TLS{"api.internal", "/etc/pace/backends.pem", "/etc/pace/client.crt", "/etc/pace/client.key", false},
			Retry{[]string{"503", "whatever"}, 1, time.Minute, 1 << 20}},
		RateLimit: &RateLimit{false, 1, 31_536_000, "whatever", 763_000_000},
		Metrics:   Metrics{false, "/-/metrics", []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")}, true},
		Tracing:   Tracing{1, "https://collector.example:4318/v1/traces", "http/protobuf", "none", "", []string{"page", "q"}, Keep{false, 0, 100_000, 0, 0}},
		Log:       Log{"json", "debug", "/var/log/pace.log", 0},
		Headers:   Headers{"Via-Pace", "pace/1 (edge)", ""},

		ServerTiming: ServerTiming{[]netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},

		NamedListeners: []Listener{
			{"https", "listener.https", "127.0.0.1:8443", true, false, "1.3", true, "require", "/etc/pace/clients.pem", []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, false},
			{"quic", "listener.quic", "127.0.0.1:8444", true, true, "1.2", false, "none", "", nil, false},
			{"plain", "listener.plain", "unix:/run/pace.sock", false, false, "1.2", false, "none", "", nil, true},
		},
		Certificates: []Certificate{
			{"certificate[0]", "example", "/etc/pace/example.crt", "/etc/pace/example.key"},
			{"certificate[1]", "", "other.crt", "other.key"},
		},
		ACME: &ACME{[]string{"www.example.com", "xn--bcher-kva.example"}, "acme", true, "admin@example.com", "https://ca.example:9000/acme/directory", "ca.pem"},

		Routes: everyRoute(),
		NamedUpstreams: []Upstream{
			{"spare", "upstream.spare", spare},
			{"api", "upstream.api", Upstreams{[]Backend{{"http", "10.0.0.2:80", 1}}, 2, 2 * time.Second, 2 * time.Second,
				2 * time.Second, 2048, 2, 2 * time.Second, 2, 1, 2 * time.Second, 2 * time.Second, "hash", "path", "at",
				2 * time.Second, Ejection{true, 2, 0.2, 2, 2 * time.Second, 2 * time.Second, 2 * time.Second, 0.2},
				&Health{"http", "/", "[::1]", "204", 24 * time.Hour, time.Millisecond, 2, 2, 1},
				TLS{"10.0.0.2", "ca.pem", "c.crt", "c.key", true},
				Retry{nil, 0.25, 20 * time.Millisecond, 1024}}},
		},
		NamedLimits: []Limit{{"per_client", "limit.per_client", RateLimit{true, 2, 2, "client_ip", 2}}},
	}
	if !reflect.DeepEqual(f.Config, want) {
		t.Errorf("got  %+v\nwant %+v", f.Config, want)
	}
}

// everyRoute are the routes of testdata/every_key.toml.
func everyRoute() []Route {
	split, redirect, respond := defaultRoute(), defaultRoute(), defaultRoute()
	split.Key, split.Match, split.Name, split.Upstream = "route[1]", "/split/", "", ""
	split.Split, split.SplitBy = []Share{{"api", 95}, {"default", 5}}, "cookie:session"
	redirect.Key, redirect.Match, redirect.Name, redirect.Upstream = "route[2]", "old.example/{rest...}", "", ""
	redirect.Redirect, redirect.Status = "https://new.example/{rest}", 301
	respond.Key, respond.Match, respond.Name, respond.Upstream = "route[3]", "/robots.txt", "", ""
	respond.Respond, respond.Body = 200, "User-agent: *"
	return []Route{{
		Key: "route[0]", Match: "GET Example.com/users/{id}", Name: "users", Upstream: "api", Status: 308,
		When:        []Field{{"X-Canary", "1", false}, {"X-Empty", "", false}},
		StripPrefix: "/users", AddPrefix: "/v2", Host: "backend",
		RequestHeaders:  HeaderRules{[]Field{{"X-From", "pace", false}}, []Field{{"Via", "a", false}, {"Via-Too", "b", false}}, []string{"Cookie"}},
		ResponseHeaders: HeaderRules{[]Field{{"Server", "none", false}}, []Field{{"Link", "</a.css>", false}}, []string{"X-Powered-By"}},
		Limits:          []string{"per_client", "default"},
		Allow:           []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		Deny:            []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")},
		Timeout:         time.Minute, ResponseTimeout: new(2 * time.Second), BodyTimeout: new(time.Duration(0)), MaxBodyBytes: new(int64(0)),
		Mirror: "default", MirrorShare: 0.5, SampleRatio: new(0.0), Log: "failures", Slow: new(3 * time.Second),
	}, split, redirect, respond}
}

func TestParse_IgnoresAByteOrderMarkAndCarriageReturns(t *testing.T) {
	f, err := Parse("x.toml", []byte("\ufeff[upstreams]\r\nbackends = [\r\n\"http://a\"\r\n]\r\n"))
	if err != nil || f.lines["upstreams.backends[0]"] != 3 {
		t.Errorf("got %v, %v", f, err)
	}
}

func TestParse_RefusesAFileAboveOneMiB(t *testing.T) {
	_, err := Parse("x.toml", []byte("[upstreams]\nbackends = [\"http://a\"]\n#"+strings.Repeat("x", 1<<20)))
	if err == nil || err.Error() != "x.toml: the file has more than 1048576 bytes; name a configuration of pace" {
		t.Error(err)
	}
}

func TestLoad_ReportsAFileThatIsNotThere(t *testing.T) {
	for _, file := range []string{filepath.Join(t.TempDir(), "none.toml"), t.TempDir()} {
		_, err := Load(file)
		f, ok := errors.AsType[*Fault](err)
		if !ok || f.File != file || f.Line != 0 || f.Remedy == "" {
			t.Errorf("%s: got %v", file, err)
		}
	}
}

// A part that knows the words of a key reports its fault beside ours.
func TestParse_ReturnsAFaultyFileForMoreFaults(t *testing.T) {
	f, err := Parse("x.toml", []byte("[log]\nformat = 5\nfile = info\nlevel = \"loud\"\n[server]\nlisten = \"here\""))
	if err == nil || f == nil {
		t.Fatalf("got %v, %v", f, err)
	}
	if want := (Log{Format: "auto", Level: "loud", SlowAfter: 30 * time.Second}); f.Log != want {
		t.Errorf("got %+v, want %+v", f.Log, want)
	}
	if got := f.Fault("log.level", "W", "M").Error(); got != "x.toml:4: log.level: W; M" {
		t.Error(got)
	}
}

func TestFileFault(t *testing.T) {
	f, err := Parse("x.toml", []byte("log.level = \"loud\"\n[upstreams]\nbackends = [\n\"http://a\",\n\"http://b\"]"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"log.level":             "x.toml:1: log.level: W; M",
		"log":                   "x.toml:1: log: W; M",
		"upstreams.backends[1]": "x.toml:5: upstreams.backends[1]: W; M",
		"log.format":            "x.toml: log.format: W; M",
	} {
		if got := f.Fault(key, "W", "M").Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// FuzzParse holds Parse to its promise: whatever the bytes, it returns either a config or
// faults that name what is wrong and how to fix it, each in one line.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.toml", "testdata/*.toml", "proxy.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(checkParse)
}

func checkParse(t *testing.T, data []byte) {
	file, err := Parse("x.toml", data)
	if err == nil {
		checkAccepted(t, file, data)
		return
	}
	last := 0
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		f, ok := e.(*Fault)
		if !ok || f.What == "" || f.Remedy == "" || f.order() < last {
			t.Fatalf("got %#v after line %d: %q", e, last, data)
		}
		if strings.ContainsFunc(f.Error(), unicode.IsControl) {
			t.Fatalf("a control character in %q: %q", f.Error(), data)
		}
		last = f.order()
	}
}

// checkAccepted holds a file without faults to what the parts rely on.
func checkAccepted(t *testing.T, file *File, data []byte) {
	form := file.InLongForm()
	upstreams, limits := map[string]bool{"": true}, map[string]bool{}
	for _, u := range form.Upstreams {
		if upstreams[u.Name] || len(u.Backends) == 0 {
			t.Errorf("upstream %q has no backends, or stands there twice: %q", u.Name, data)
		}
		upstreams[u.Name] = true
	}
	for _, l := range form.Limits {
		limits[l.Name] = true
	}
	if len(form.Routes) == 0 {
		t.Errorf("no route: %q", data)
	}
	for _, r := range form.Routes {
		actions := 0
		for _, set := range []bool{r.Upstream != "", r.Split != nil, r.Redirect != "", r.Respond != 0} {
			if set {
				actions++
			}
		}
		if actions != 1 || r.Name == "" || !upstreams[r.Upstream] || !upstreams[r.Mirror] {
			t.Errorf("%d actions, or a name that is empty or not defined, in %+v: %q", actions, r, data)
		}
		for _, s := range r.Split {
			if !upstreams[s.Upstream] {
				t.Errorf("no upstream %q: %q", s.Upstream, data)
			}
		}
		for _, l := range r.Limits {
			if !limits[l] {
				t.Errorf("no limit %q: %q", l, data)
			}
		}
	}
	if v, ok := inJSON(string(bytes.TrimPrefix(data, []byte("\ufeff")))); ok {
		if bad := violations(t, writtenSchema(t), v, ""); bad != nil {
			t.Errorf("the schema refuses what Parse accepts: %v: %q", bad, data)
		}
	}
}

// A file that was made to cost much time or stack must be refused like any other.
func TestParse_EndsSoonOnHostileFiles(t *testing.T) {
	const size = 1 << 17
	lines := func(form string) string {
		var b strings.Builder
		for i := 0; b.Len() < size; i++ {
			fmt.Fprintf(&b, form+"\n", i)
		}
		return b.String()
	}
	for name, doc := range map[string]string{
		"nested lists":         "a = " + strings.Repeat("[", maxBytes-10),
		"nested inline tables": strings.Repeat("a = {", maxBytes/6),
		"one long dotted key":  strings.Repeat("a.", size/2) + "a = 1",
		"one long key":         strings.Repeat("a", maxBytes-10) + " = 1",
		"unknown keys":         lines("a%d = 1"),
		"unknown tables":       lines("[upstream.a%d]"),
		"the same table":       strings.Repeat("[a]\n", size/4),
		"array of tables":      strings.Repeat("[[route]]\n", size/10),
		"no statements":        strings.Repeat("x\n", size/2),
		"unclosed lists":       strings.Repeat("a = [\n", size/6),
		"unclosed strings":     strings.Repeat("a = \"\"\"\n", size/8),
		"not UTF-8":            strings.Repeat("\xff\n", size/2),
		"the same backend":     "[upstreams]\nbackends = [" + strings.Repeat(`"http://a",`, size/11) + "]",
		"network by network":   "[upstreams]\nbackends = [\n" + lines(`"http://a%d",`) + "]\n[metrics]\nallow = [\n" + lines(`"10.0.0.0/%d",`) + "]",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if _, err := Parse("x.toml", []byte(doc)); err == nil {
				t.Error("accepted")
			}
			// Linear work takes some 0.2 s, quadratic work minutes.
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("took %v", took)
			}
		})
	}
}

func TestParse_StopsAtAThousandFaults(t *testing.T) {
	_, err := Parse("x.toml", []byte("[server]\n"+strings.Repeat("[server]\n", 5000)))
	faults := err.(interface{ Unwrap() []error }).Unwrap()
	last := faults[len(faults)-1].Error()
	if len(faults) != toml.MaxFaults+1 || !strings.HasPrefix(last, "x.toml: more than 999 faults") {
		t.Errorf("%d faults, the last %s", len(faults), last)
	}
}

func TestNearest(t *testing.T) {
	for _, tt := range []struct{ table, name, want string }{
		{"server", "lsiten", "server.listen"}, // two letters swapped
		{"server", "Listen", "server.listen"},
		{"server", "connect_timeout", "upstreams.connect_timeout"},
		{"upstream", "max_retrys", "upstreams.max_retries"},
		{"ratelimit", "max_requests", "rate_limit.max_requests"},
		{"", "workers", "server.workers"},
		{"", "worker", "server.workers"},
		{"", "server.listen", "server.listen"}, // as one quoted name
		{"server", "certificate", ""},
		{"admin", "port", ""},
		{"server", "a.b", ""},
		{"", strings.Repeat("listen", 99), ""},
	} {
		in := root
		if tt.table != "" {
			in = cmp.Or(root.inner(tt.table), &table{name: tt.table})
		}
		if got := nearest(in, tt.table, tt.name, "key"); got != tt.want {
			t.Errorf("%s in [%s]: got %q, want %q", tt.name, tt.table, got, tt.want)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	data, err := os.ReadFile("testdata/every_key.toml")
	if err != nil {
		b.Fatal(err)
	}
	for name, parse := range map[string]func(){
		"pace": func() { Parse("x.toml", data) },
		"floor": func() { // the library alone, without lines, checks and defaults
			var doc map[string]any
			burntsushi.Decode(string(data), &doc)
		},
	} {
		b.Run("impl="+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parse()
			}
		})
	}
}

// pace listens on a port, on a socket in the file system, or on one that systemd opened.
func TestParse_AddressesToListenOn(t *testing.T) {
	for _, address := range []string{"0.0.0.0:8080", ":8080", "[::1]:0", "unix:/run/pace/pace.sock", "fd:http", "fd:pace.socket", "fd:a-b_c@1"} {
		f, err := Parse("x.toml", []byte("server.listen = \""+address+"\"\nadmin.listen = \"127.0.0.1:9464\"\nupstreams.backends = [\"http://127.0.0.1:8000\"]"))
		if err != nil || f.Server.Listen != address {
			t.Errorf("%s: got %+v, %v", address, f, err)
		}
	}
}
