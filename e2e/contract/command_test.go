package contract

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"pace/e2e/pacetest"
)

const older = `[server]
listen = "0.0.0.0:8080"
workers = 4

[upstreams]
backends = ["http://127.0.0.1:8000", "http://127.0.0.1:8001"]

[rate_limit]
max_requests = 10
window_seconds = 60
key_extractor = "client_ip"

[metrics]
enabled = true
endpoint = "/metrics"
`

func TestCheck_OlderProxysFilePasses(t *testing.T) {
	t.Parallel()
	got := pacetest.Exec(t, t.TempDir(), nil, "check", write(t, "proxy.toml", older))
	if got.Code != 0 || got.Stderr != "" {
		t.Errorf("exit %d, stderr %q; want 0 and nothing", got.Code, got.Stderr)
	}
}

func TestCheck_AllFaultsAtOnceInFileOrder(t *testing.T) {
	t.Parallel()
	file := write(t, "proxy.toml", "[server]\nlisen = \"x\"\nworkers = -1\n\n[upstreams]\nbackends = [\"https://127.0.0.1:1\"]\n\n[log]\nformat = \"xml\"\n")
	for _, args := range [][]string{{"check", file}, {"run", "--config", file}} {
		got := pacetest.Exec(t, t.TempDir(), nil, args...)
		if got.Code != 2 {
			t.Errorf("pace %s exits %d, want 2", args[0], got.Code)
		}
		lines := strings.Split(strings.TrimSuffix(got.Stderr, "\n"), "\n")
		want := []string{":2: server.lisen: ", ":3: server.workers: ", ":6: upstreams.backends", ":9: log.format: "}
		if len(lines) != len(want) {
			t.Fatalf("pace %s prints %d lines, want %d:\n%s", args[0], len(lines), len(want), got.Stderr)
		}
		for i, prefix := range want {
			if !strings.HasPrefix(lines[i], file+prefix) || !strings.Contains(lines[i], "; ") {
				t.Errorf("line %d is %q, want %s%sWHAT; REMEDY", i+1, lines[i], file, prefix)
			}
		}
	}
}

func TestCheck_Refuses(t *testing.T) {
	t.Parallel()
	const pool = "[upstreams]\nbackends = [\"http://127.0.0.1:8000\"]\n"
	backends := func(list string) string { return "[upstreams]\nbackends = [" + list + "]\n" }
	tests := map[string]struct {
		toml string
		line int // 0: none is to blame
		key  string
		says string // in the fault's text
	}{
		"an unknown key, suggesting the nearest":   {"[server]\nlisen = \":1\"\n" + pool, 2, "server.lisen", "listen"},
		"an unknown table, suggesting the nearest": {pool + "[servr]\nlisten = \":1\"\n", 3, "servr", "server"},
		"a wrong type":                {"[server]\nlisten = 8080\n" + pool, 2, "server.listen", ""},
		"a key twice":                 {"[server]\nworkers = 1\nworkers = 2\n" + pool, 3, "server.workers", ""},
		"bytes that are not UTF-8":    {"[server]\nlisten = \"\xff:1\"\n" + pool, 2, "", ""},
		"YAML":                        {"server:\n  listen: 0.0.0.0:8080\nupstreams:\n  backends: [http://127.0.0.1:8000]\n", 1, "", "this is YAML; pace reads TOML"},
		"JSON":                        {"{\n  \"upstreams\": {\"backends\": [\"http://127.0.0.1:8000\"]}\n}\n", 1, "", "this is JSON; pace reads TOML"},
		"a bare port":                 {"[server]\nlisten = \"8080\"\n" + pool, 2, "server.listen", `write "0.0.0.0:8080"`},
		"a bare port as a number":     {"[admin]\nlisten = 9464\n" + pool, 2, "admin.listen", `write "127.0.0.1:9464"`},
		"a duration of 0":             {pool + "response_timeout = 0\n", 3, "upstreams.response_timeout", `write a duration from "1ms" to "24h"`},
		"a duration that may be 0":    {"[server]\ndrain_timeout = 0\n" + pool, 2, "server.drain_timeout", `write "0s"`},
		"the keys of its own table":   {pool + "[log]\ncolour = 1\n", 4, "log.colour", "valid keys in [log]: format, level, file, slow_after"},
		"the memory that is too much": {pool + "[rate_limit]\nmax_requests = 10000\n", 4, "rate_limit.max_requests", "the limit is 64 GiB; write 6863 or less"},
		"an address without port":     {"[server]\nlisten = \"127.0.0.1\"\n" + pool, 2, "server.listen", ""},
		"a port above 65535":          {"[server]\nlisten = \"127.0.0.1:65536\"\n" + pool, 2, "server.listen", ""},
		"an admin port above 65535":   {"[admin]\nlisten = \"127.0.0.1:99999\"\n" + pool, 2, "admin.listen", ""},
		"a backend over https":        {backends(`"https://127.0.0.1:1"`), 2, "upstreams.backends", ""},
		"a backend without scheme":    {backends(`"127.0.0.1:1"`), 2, "upstreams.backends", ""},
		"a backend with a path":       {backends(`"http://127.0.0.1:1/x"`), 2, "upstreams.backends", ""},
		"a backend with a query":      {backends(`"http://127.0.0.1:1?x=1"`), 2, "upstreams.backends", ""},
		"a backend with a fragment":   {backends(`"http://127.0.0.1:1#x"`), 2, "upstreams.backends", ""},
		"a backend with credentials":  {backends(`"http://a:b@127.0.0.1:1"`), 2, "upstreams.backends", ""},
		"a backend's port above":      {backends(`"http://127.0.0.1:70000"`), 2, "upstreams.backends", ""},
		"a backend twice":             {backends(`"http://127.0.0.1:1", "http://127.0.0.1:1"`), 2, "upstreams.backends", ""},
		"a backend that is pace":      {"[server]\nlisten = \"0.0.0.0:18080\"\n" + backends(`"http://127.0.0.1:18080"`), 4, "upstreams.backends", "itself"},
		"two listeners at one port":   {"[server]\nlisten = \":18080\"\n[admin]\nlisten = \"127.0.0.1:18080\"\n" + pool, 4, "admin.listen", "server"},
		"a header that others need":   {pool + "[headers]\nproxy_name = \"Accept-Encoding\"\n", 4, "headers.proxy_name", "meaning"},
		"an empty pool":               {backends(""), 2, "upstreams.backends", ""},
		"no pool":                     {"[server]\nworkers = 1\n", 0, "upstreams.backends", ""},
		"a negative number":           {"[server]\nworkers = -1\n" + pool, 2, "server.workers", ""},
		"a negative duration":         {"[server]\nidle_timeout = \"-1s\"\n" + pool, 2, "server.idle_timeout", ""},
		"a window of zero":            {pool + "[rate_limit]\nwindow_seconds = 0\n", 4, "rate_limit.window_seconds", ""},
		"a window above a year":       {pool + "[rate_limit]\nwindow_seconds = 31622401\n", 4, "rate_limit.window_seconds", ""},
		"no time to connect":          {pool + "connect_timeout = \"0s\"\n", 3, "upstreams.connect_timeout", ""},
		"a duration without unit":     {pool + "connect_timeout = \"5\"\n", 3, "upstreams.connect_timeout", ""},
		"an unknown log format":       {pool + "[log]\nformat = \"xml\"\n", 4, "log.format", "json"},
		"an unknown log level":        {pool + "[log]\nlevel = \"loud\"\n", 4, "log.level", "info"},
		"an unknown trust":            {pool + "[tracing]\ntrust = \"some\"\n", 4, "tracing.trust", "trusted"},
		"an unknown protocol":         {pool + "[tracing]\nprotocol = \"udp\"\n", 4, "tracing.protocol", "grpc"},
		"an unknown key extractor":    {pool + "[rate_limit]\nkey_extractor = \"cookie\"\n", 4, "rate_limit.key_extractor", "client_ip"},
		"a ratio above one":           {pool + "[tracing]\nsample_ratio = 1.5\n", 4, "tracing.sample_ratio", ""},
		"a proxy that is no CIDR":     {"[server]\ntrusted_proxies = [\"nonsense\"]\n" + pool, 2, "server.trusted_proxies", ""},
		"a limiter of absurd memory":  {pool + "[rate_limit]\nmax_requests = 1000000000\nmax_keys = 1000000000\n", -1, "rate_limit.max_", ""},
		"a header name with a space":  {pool + "[headers]\nproxy_name = \"X Proxy\"\n", 4, "headers.proxy_name", ""},
		"a header value with newline": {pool + "[headers]\nproxy_value = \"a\\r\\nb\"\n", 4, "headers.proxy_value", ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := write(t, "proxy.toml", tt.toml)
			got := pacetest.Exec(t, t.TempDir(), nil, "check", file)
			at := regexp.QuoteMeta(file) + fmt.Sprintf(":%d: ", tt.line)
			if tt.line < 0 { // one of two lines may be blamed
				at = regexp.QuoteMeta(file) + `:\d+: `
			} else if tt.line == 0 {
				at = regexp.QuoteMeta(file) + `:(\d+:)? `
			}
			fault := regexp.MustCompile(`\A` + at + regexp.QuoteMeta(tt.key) + `.*: .*` + regexp.QuoteMeta(tt.says) + `.*\n\z`)
			if tt.key == "" {
				fault = regexp.MustCompile(`\A` + at + `.*` + regexp.QuoteMeta(tt.says) + `.*\n\z`)
			}
			if got.Code != 2 || !fault.MatchString(got.Stderr) || !strings.Contains(got.Stderr, "; ") {
				t.Errorf("exit %d, stderr %q; want 2 and one fault like %s; REMEDY", got.Code, got.Stderr, fault)
			}
		})
	}
}

// TestCheck_DefaultsAreAFileThatPasses reads interface.md's table of keys.
func TestCheck_DefaultsAreAFileThatPasses(t *testing.T) {
	t.Parallel()
	got := pacetest.Exec(t, t.TempDir(), nil, "check", "--defaults")
	if got.Code != 0 || got.Stderr != "" {
		t.Fatalf("exit %d, stderr %q", got.Code, got.Stderr)
	}
	if again := pacetest.Exec(t, t.TempDir(), nil, "check", write(t, "defaults.toml", got.Stdout)); again.Code != 0 {
		t.Errorf("the printed file does not pass: %s", again.Stderr)
	}
	for table, keys := range defaults {
		section := tomlSection(got.Stdout, table)
		for key, value := range keys {
			line := regexp.MustCompile(`(?m)^(#\s*)?` + key + ` *= *` + regexp.QuoteMeta(value) + `( *#.*)?$`)
			at := line.FindStringIndex(section)
			if at == nil {
				t.Errorf("[%s] does not print %s = %s", table, key, value)
				continue
			}
			before := strings.TrimSuffix(section[:at[0]], "\n")
			before = before[strings.LastIndexByte(before, '\n')+1:]
			if !strings.HasPrefix(before, "#") && !strings.Contains(strings.TrimPrefix(section[at[0]:at[1]], "#"), "#") {
				t.Errorf("[%s] prints no meaning of %s", table, key)
			}
		}
	}
}

var defaults = map[string]map[string]string{
	"server": {
		"listen": `"0.0.0.0:8080"`, "workers": "0", "drain_timeout": `"30s"`, "drain_delay": `"0s"`, "trusted_proxies": "[]", "read_header_timeout": `"10s"`,
		"idle_timeout": `"75s"`, "max_header_bytes": "65536", "max_body_bytes": "0", "body_timeout": `"60s"`,
	},
	"admin": {"listen": `"127.0.0.1:9464"`, "pprof": "false"},
	"upstreams": {
		"max_retries": "1", "connect_timeout": `"1s"`, "response_timeout": `"30s"`, "max_response_header_bytes": "65536", "max_idle_per_backend": "512", "idle_timeout": `"60s"`,
	},
	"rate_limit": {"enabled": "true", "max_requests": "10", "window_seconds": "60", "key_extractor": `"client_ip"`, "max_keys": "1000000"},
	"metrics":    {"enabled": "true", "endpoint": `"/metrics"`, "allow": "[]"},
	"tracing": {
		"sample_ratio": "1.0", "endpoint": `""`, "protocol": `"grpc"`, "trust": `"all"`, "response_header": `"X-Trace-Id"`, "query_allow": "[]",
	},
	"log":           {"format": `"auto"`, "level": `"info"`, "file": `""`, "slow_after": `"30s"`},
	"server_timing": {"allow": "[]"},
	"headers":       {"proxy_name": `"X-Proxy"`, "proxy_value": `"pace"`, "backend_name": `"X-Backend"`},
}

// tomlSection returns the lines of a table, also if it is commented out.
func tomlSection(text, table string) string {
	heads := regexp.MustCompile(`(?m)^(# *)?\[([a-z_]+)\]`).FindAllStringSubmatchIndex(text, -1)
	for i, head := range heads {
		if text[head[4]:head[5]] != table {
			continue
		}
		if i+1 < len(heads) {
			return text[head[1]:heads[i+1][0]]
		}
		return text[head[1]:]
	}
	return ""
}

func TestRun_FindsItsConfigByFlagThenEnvironmentThenDefault(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"flag.toml", "env.toml", "config/proxy.toml"} { // each names itself by its fault
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nonsense = 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PACE_CONFIG=env.toml"}
	for name, tt := range map[string]struct {
		env  []string
		args []string
		want string
	}{
		"flag over environment":    {env, []string{"run", "--config", "flag.toml"}, "flag.toml:1: "},
		"environment over default": {env, []string{"run"}, "env.toml:1: "},
		"default":                  {nil, []string{"run"}, "config/proxy.toml:1: "},
	} {
		got := pacetest.Exec(t, dir, tt.env, tt.args...)
		if got.Code != 2 || !strings.HasPrefix(got.Stderr, tt.want) {
			t.Errorf("%s: exit %d, stderr %q; want 2 and %s…", name, got.Code, got.Stderr, tt.want)
		}
	}
}

func TestRun_MissingFileIsBadConfiguration(t *testing.T) {
	t.Parallel()
	got := pacetest.Exec(t, t.TempDir(), nil, "run", "--config", "nowhere.toml")
	if got.Code != 2 || !strings.Contains(got.Stderr, "nowhere.toml") {
		t.Errorf("exit %d, stderr %q; want 2 and the file's name", got.Code, got.Stderr)
	}
}

// TestRunAndCheck_FindTheSameFile: as an argument, by --config, in PACE_CONFIG, or by default.
func TestRunAndCheck_FindTheSameFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "config"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"named.toml", "env.toml", "config/proxy.toml"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("nonsense = 1\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"PACE_CONFIG=env.toml"}
	for _, tt := range []struct {
		env  []string
		args []string
		want string
	}{
		{env, []string{"named.toml"}, "named.toml:1: "},
		{env, []string{"--config", "named.toml"}, "named.toml:1: "},
		{env, []string{"--config=named.toml"}, "named.toml:1: "},
		{env, nil, "env.toml:1: "},
		{nil, nil, "config/proxy.toml:1: "},
	} {
		for _, command := range []string{"run", "check"} {
			got := pacetest.Exec(t, dir, tt.env, append([]string{command}, tt.args...)...)
			if got.Code != 2 || !strings.HasPrefix(got.Stderr, tt.want) {
				t.Errorf("pace %s %q: exit %d, stderr %q; want 2 and %s…", command, tt.args, got.Code, got.Stderr, tt.want)
			}
		}
	}
}

func TestCheck_WithoutFileTakesTheDefaultOne(t *testing.T) {
	t.Parallel()
	file := write(t, "proxy.toml", older)
	if got := pacetest.Exec(t, t.TempDir(), []string{"PACE_CONFIG=" + file}, "check"); got.Code != 0 || got.Stderr != "" {
		t.Errorf("exit %d, stderr %q", got.Code, got.Stderr)
	}
}

// TestStandardInput: - is a configuration on standard input, for check and for run.
func TestStandardInput(t *testing.T) {
	t.Parallel()
	command := func(input string, args ...string) *exec.Cmd {
		cmd := exec.Command(pacetest.Binary(t), args...)
		cmd.Dir, cmd.Stdin = t.TempDir(), strings.NewReader(input)
		return cmd
	}
	for _, args := range [][]string{{"check", "-"}, {"check", "--config", "-"}} {
		if out, err := command(older, args...).CombinedOutput(); err != nil {
			t.Errorf("pace %q: %v, %s", args, err, out)
		}
	}
	for _, args := range [][]string{{"check", "-"}, {"run", "-"}, {"run", "--config", "-"}} {
		cmd := command("[server]\nworkers = -1\n", args...)
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != 2 || !strings.HasPrefix(string(out), "-:2: server.workers: ") {
			t.Errorf("pace %q: exit %d, %q; want 2 and -:2: server.workers: …", args, code, out)
		}
	}
	cfg := onFreePorts(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	cmd := command(cfg.TOML(), "run", "-")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	pacetest.Eventually(t, func() error {
		resp, err := http.Get("http://" + cfg["server"]["listen"].(string) + "/x")
		if err == nil {
			resp.Body.Close()
		}
		return err
	})
}

// TestUsage_BadIsExit2: one line, which ends with where help is, and suggests what was meant.
func TestUsage_BadIsExit2(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		args []string
		says string
		help string // where the line says that help is
	}{
		{[]string{"rnu"}, "did you mean run?", "pace --help"},
		{[]string{"chekc", "x"}, "did you mean check?", "pace --help"},
		{[]string{"dashboard"}, "did you mean dashboards?", "pace --help"},
		{[]string{"nonsense"}, `unknown command "nonsense"`, "pace --help"},
		{[]string{"--versoin"}, "--versoin", "pace --help"},
		{[]string{"run", "--confg", "x"}, "--confg", "pace run --help"},
		{[]string{"run", "--config"}, "--config", "pace run --help"},
		{[]string{"run", "a", "b"}, "one FILE", "pace run --help"},
		{[]string{"run", "a", "--config", "b"}, "twice", "pace run --help"},
		{[]string{"check", "a", "b"}, "one FILE", "pace check --help"},
		{[]string{"check", "--defaults", "a"}, "--defaults", "pace check --help"},
		{[]string{"check", "--defaults=maybe"}, "maybe", "pace check --help"},
		{[]string{"version", "x"}, "x", "pace version --help"},
		{[]string{"demo", "x"}, "x", "pace demo --help"},
		{[]string{"dashboards"}, "--out", "pace dashboards --help"},
		{[]string{"help", "rnu"}, "did you mean run?", "pace help --help"},
		{[]string{"completion"}, "bash", "pace completion --help"},
		{[]string{"completion", "tcsh"}, `unknown shell "tcsh"`, "pace completion --help"},
		{[]string{"completion", "bash", "x"}, "x", "pace completion bash --help"},
	} {
		got := pacetest.Exec(t, t.TempDir(), nil, tt.args...)
		if got.Code != 2 || got.Stdout != "" || strings.Count(got.Stderr, "\n") != 1 || !strings.Contains(got.Stderr, tt.says) ||
			!strings.HasSuffix(got.Stderr, fmt.Sprintf("see %q\n", tt.help)) {
			t.Errorf("pace %q: exit %d, stdout %q, stderr %q; want 2 and one line with %q that ends with see %q",
				tt.args, got.Code, got.Stdout, got.Stderr, tt.says, tt.help)
		}
		if help := pacetest.Exec(t, t.TempDir(), nil, strings.Fields(tt.help)[1:]...); help.Code != 0 || !strings.Contains(help.Stdout, "Usage:") {
			t.Errorf("%s: exit %d, %q", tt.help, help.Code, help.Stdout)
		}
	}
}

func TestVersionHelpCompletion(t *testing.T) {
	t.Parallel()
	got := pacetest.Exec(t, t.TempDir(), nil, "version")
	if got.Code != 0 || !strings.HasPrefix(got.Stdout, "pace ") || strings.Count(got.Stdout, "\n") != 1 {
		t.Errorf("version: exit %d, stdout %q", got.Code, got.Stdout)
	}
	if flag := pacetest.Exec(t, t.TempDir(), nil, "--version"); flag != got {
		t.Errorf("--version: got %+v, want what version says, %+v", flag, got)
	}
	help := pacetest.Exec(t, t.TempDir(), nil, "help")
	for _, command := range []string{"run", "check", "demo", "version", "completion"} {
		if help.Code != 0 || !strings.Contains(help.Stdout, command) {
			t.Errorf("help: exit %d, without %s:\n%s", help.Code, command, help.Stdout)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		got := pacetest.Exec(t, t.TempDir(), nil, "completion", shell)
		if got.Code != 0 || !strings.Contains(got.Stdout, "pace") {
			t.Errorf("completion %s: exit %d, %d bytes", shell, got.Code, len(got.Stdout))
		}
		if shell != "bash" {
			continue
		}
		if out, err := exec.Command("bash", "-n", write(t, "pace.bash", got.Stdout)).CombinedOutput(); err != nil {
			t.Errorf("bash does not read its completion: %v %s", err, out)
		}
	}
}

// TestCommands_EndQuietlyWhenNobodyReads: as in "pace check --defaults | head -1". That a proxy
// outlives the reader of its log must not make its commands talk of broken pipes.
func TestCommands_EndQuietlyWhenNobodyReads(t *testing.T) {
	t.Parallel()
	file := write(t, "proxy.toml", older)
	for _, args := range [][]string{{"check", "--defaults"}, {"check", file}, {"version"}, {"completion", "bash"}} {
		out, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		out.Close()
		cmd := exec.Command(pacetest.Binary(t), args...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = in, &stderr
		cmd.Run()
		in.Close()
		if s := cmd.ProcessState.Sys().(syscall.WaitStatus); s.Signal() != syscall.SIGPIPE || stderr.Len() > 0 {
			t.Errorf("pace %q ends with %v and says %q; want SIGPIPE and nothing", args, cmd.ProcessState, stderr.String())
		}
	}
}

func TestDashboards_AreWritten(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	if got := pacetest.Exec(t, t.TempDir(), nil, "dashboards", "--out", dir); got.Code != 0 {
		t.Fatalf("exit %d, stderr %q", got.Code, got.Stderr)
	}
	for _, pattern := range []string{"*.json", "*.yml"} {
		if files, err := filepath.Glob(filepath.Join(dir, pattern)); err != nil || len(files) == 0 {
			t.Errorf("no %s is written (%v)", pattern, err)
		}
	}
	if got := pacetest.Exec(t, t.TempDir(), nil, "dashboards"); got.Code != 2 {
		t.Errorf("without --out: exit %d, want 2", got.Code)
	}
}

func TestRun_TakenAddressIsNamedWithARemedy(t *testing.T) {
	t.Parallel()
	taken := pacetest.NewBackend(t, pacetest.Fine)
	for _, table := range []string{"server", "admin"} {
		cfg := upstreams(pacetest.NewClosed(t))
		cfg["server"] = pacetest.Table{"listen": "127.0.0.1:0"}
		cfg["admin"] = pacetest.Table{"listen": "127.0.0.1:0"}
		cfg[table] = pacetest.Table{"listen": taken.Address()}
		got := pacetest.Exec(t, t.TempDir(), nil, "run", "--config", write(t, "proxy.toml", cfg.TOML()))
		if got.Code != 1 || !strings.Contains(got.Stderr, taken.Address()) || !strings.Contains(got.Stderr, "; ") {
			t.Errorf("%s: exit %d, stderr %q; want 1, the address and a remedy", table, got.Code, got.Stderr)
		}
	}
}

func TestDemo_ServesItsSamples(t *testing.T) {
	t.Parallel()
	p := startDemo(t, freePort(t), "--no-limit")
	for range 15 {
		wantStatus(t, p.Get("/test"), 200)
	}
	for _, method := range []string{"GET", "POST"} {
		got := p.Send(method, "/test", "")
		for _, field := range []string{`"backend"`, `"method"`, `"path"`, `"port"`, method, "/test", "X-Proxy"} {
			if !strings.Contains(strings.ToLower(got.Body), strings.ToLower(field)) {
				t.Errorf("%s /test: %s is not in %s", method, field, got.Body)
			}
		}
		if !strings.HasPrefix(got.Header.Get("X-Backend"), "backend_") {
			t.Errorf("%s /test: X-Backend is %q", method, got.Header.Get("X-Backend"))
		}
	}
	wantStatus(t, p.Get("/slow?ms=5"), 200)
	wantStatus(t, p.Get("/status/404"), 404)
	wantStatus(t, p.Get("/status/503"), 503)
	if got := p.Get("/die"); got.Err == nil {
		t.Errorf("/die ended as if whole: status %d, %d bytes", got.Status, len(got.Body))
	}
}

func TestDemo_EleventhRequestIsRejected(t *testing.T) {
	t.Parallel()
	p := startDemo(t, freePort(t))
	wantStatus(t, p.Get("/metrics"), 200)
	rejected := 0
	for range 15 {
		if p.Get("/test").Status == 429 {
			rejected++
		}
	}
	if rejected != 6 { // of the ten places, startDemo's look at whether it serves took one
		t.Errorf("%d of 15 requests got 429, want 6", rejected)
	}
}

func TestDemo_TakenPortMovesToTheNextFree(t *testing.T) {
	t.Parallel()
	taken := pacetest.NewBackend(t, pacetest.Fine)
	p := startDemo(t, taken.Port(), "--no-limit")
	if p.Proxy == taken.Address() {
		t.Errorf("demo claims to serve on the taken %s", p.Proxy)
	}
	wantStatus(t, p.Get("/test"), 200)
	if out := p.Output(); !strings.Contains(out, strconv.Itoa(taken.Port())) {
		t.Errorf("demo does not say that port %d is taken:\n%s", taken.Port(), out)
	}
	if got := taken.Got("/test"); len(got) > 0 {
		t.Errorf("the taken port's owner got %d requests", len(got))
	}
}

// startDemo runs pace demo with the proxy on port or the next free one, which it names in what
// it says to try, and waits until that one answers with X-Backend.
func startDemo(t *testing.T, port int, args ...string) *pacetest.Pace {
	t.Helper()
	args = append([]string{"demo", "--listen", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, args...)
	p := pacetest.Launch(t, nil, args...)
	named := regexp.MustCompile(`http://(?:localhost|127\.0\.0\.1):(\d+)`)
	pacetest.Eventually(t, func() error {
		says := named.FindStringSubmatch(p.Output())
		if says == nil {
			return fmt.Errorf("demo says no address:\n%s", p.Output())
		}
		p.Proxy = net.JoinHostPort("127.0.0.1", says[1])
		if got := p.Get("/"); got.Header.Get("X-Backend") == "" {
			return fmt.Errorf("no demo on %s: status %d, %v", p.Proxy, got.Status, got.Err)
		}
		return nil
	})
	return p
}

// freePort returns a port that stays free for whoever asks for it by number.
func freePort(t *testing.T) int {
	t.Helper()
	return pacetest.NewClosed(t).Port()
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
