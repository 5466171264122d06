package contract

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// The values in the tests of secrets. Each has the word that is looked for.
const (
	secretWord  = "hunter2"
	secretToken = "hunter2-token-of-the-backend"
	otherToken  = "hunter2-another-token"
	secretCDN   = "hunter2-from-the-cdn"
	secretBody  = "hunter2-in-a-body"
)

// withSecrets returns a configuration that refers to a file, which has a token, and to two variables.
func withSecrets(t *testing.T, b *pacetest.Backend, file string) pacetest.Config {
	t.Helper()
	return upstreams(b).WithRoutes(
		pacetest.Table{
			"match": "/", "upstream": "default", "when": pacetest.Table{"X-From-Cdn": "${env:SECRET_CDN}"},
			"request_headers": pacetest.Table{"set": pacetest.Table{"X-Login": "Bearer ${file:" + file + "}"}},
		},
		pacetest.Table{"match": "/text", "respond": 200, "body": "${env:SECRET_BODY} costs $${5}"},
	)
}

var secretEnv = []string{"SECRET_CDN=" + secretCDN, "SECRET_BODY=" + secretBody}

// A secret gets where the configuration says, and nowhere else: neither log, span, metric, page of the admin listener
// nor command shows one, whether pace starts, serves, reloads or refuses a file.
func TestSecrets_AreShownNowhere(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/fails": pacetest.Status(500, ""), "/": pacetest.Fine}))
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(secretToken)
	cfg := set(set(withSecrets(t, b, file), "admin", "pprof", true), "log", "level", "debug")
	cfg, _ = withToken(t, cfg, firstToken)
	p, spans := pacetest.StartTraced(t, cfg, secretEnv...)
	fromCDN := func(path string) *http.Request { return request(t, p, path, "X-From-Cdn", secretCDN) }
	for _, path := range []string{"/a", "/fails"} {
		do(t, fromCDN(path))
		if got := b.WantGot(1, path)[0].Header.Get("X-Login"); got != "Bearer "+secretToken {
			t.Errorf("%s: the backend got %q", path, got)
		}
	}
	wantStatus(t, p.Get("/without"), 404)
	if got := p.Get("/text"); string(got.Body) != secretBody+" costs ${5}" {
		t.Errorf("the client got %q", got.Body)
	}

	write(otherToken)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 200, `request_headers.set: added X-Login = ***, removed X-Login = ***`)
	do(t, fromCDN("/b"))
	if got := b.WantGot(1, "/b")[0].Header.Get("X-Login"); got != "Bearer "+otherToken {
		t.Errorf("after the reload the backend got %q", got)
	}
	write(otherToken + "\n" + secretToken)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 422, "request_headers.set.X-Login: what ${file:", "is refused")
	os.Remove(file)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 422, "cannot be read: no such file or directory")
	write(otherToken)

	shown := map[string]string{"the log": p.Output(), "the spans": fmt.Sprintf("%+v", awaited(spans, 5))}
	for _, path := range []string{
		"/api/v1/config", "/api/v1/routes", "/api/v1/routes/match?url=http://x/text", "/api/v1/routes/match?url=http://x/a", "/api/v1/upstreams",
		"/api/v1/requests", "/api/v1/inflight", "/metrics", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/",
	} {
		shown[path] = adminPage(t, p, path)
	}
	dir := t.TempDir()
	clean := append([]string{}, secretEnv...)
	for _, args := range [][]string{
		{"check", p.File}, {"check", p.File, "--diff", writeFile(t, dir, "other.toml", strings.Replace(cfg.TOML(), "${file:"+file+"}", "none", 1))},
		{"explain", p.File, "GET", "http://x/a"}, {"explain", p.File, "GET", "http://x/text"}, {"explain", p.File, "GET", "/a", "-H", "X-From-Cdn: " + secretCDN},
	} {
		exit := pacetest.Exec(t, dir, clean, args...)
		if exit.Code != 0 {
			t.Errorf("%q exits with %d: %s", args, exit.Code, exit.Stderr)
		}
		shown[fmt.Sprintf("%.7q", args)+args[len(args)-1]] = exit.Stdout + exit.Stderr
	}
	bad := writeFile(t, dir, "bad.toml", strings.NewReplacer(`"default"`, `"${env:SECRET_BODY}"`, "X-Login", "X Login").Replace(cfg.TOML())+"\n[log]\nlevel = \"${env:SECRET_CDN}\"\nformat = \"json\"\n")
	exit := pacetest.Exec(t, dir, clean, "check", bad)
	if exit.Code != 2 {
		t.Errorf("check of a bad file exits with %d", exit.Code)
	}
	shown["check of a bad file"] = exit.Stderr
	for where, text := range shown {
		if text == "" {
			t.Errorf("%s is empty", where)
		}
		for line := range strings.Lines(text) {
			if strings.Contains(strings.ReplaceAll(line, "not \""+secretCDN+"\"", ""), secretWord) {
				t.Errorf("%s has a secret: %.300s", where, line)
			}
		}
	}
}

// With --watch, a file with a secret that changes is a reload, also in the way in which Kubernetes replaces a Secret,
// and also if the secret was missing before.
func TestSecrets_AreWatched(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	dir := t.TempDir()
	place := func(token string) {
		t.Helper()
		version, err := os.MkdirTemp(dir, "..2026_")
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, version, "token", token)
		symlink(t, filepath.Base(version), filepath.Join(dir, "..data_tmp"))
		rename(t, filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data"))
	}
	place(secretToken)
	symlink(t, "..data/token", filepath.Join(dir, "token"))
	cfg := onFreePorts(t, withSecrets(t, b, filepath.Join(dir, "token")))
	cfg["log"] = pacetest.Table{"format": "json"}
	config := writeFile(t, t.TempDir(), "proxy.toml", cfg.TOML())
	p := pacetest.Launch(t, secretEnv, "run", "--watch", config)
	p.Proxy = cfg["server"]["listen"].(string)
	awaitServing(t, p)
	for nth, token := range []string{otherToken, secretToken, "a third one"} {
		place(token)
		awaitApplied(t, p, nth+1)
		path := fmt.Sprint("/", nth)
		do(t, request(t, p, path, "X-From-Cdn", secretCDN))
		if got := b.WantGot(1, path)[0].Header.Get("X-Login"); got != "Bearer "+token {
			t.Fatalf("after change %d the backend got %q, want %q", nth, got, token)
		}
	}
	// A file that is named before it is there.
	late := mkdir(t, t.TempDir(), "late")
	writeFile(t, filepath.Dir(config), "proxy.toml", strings.Replace(cfg.TOML(), filepath.Join(dir, "token"), filepath.Join(late, "token"), 1))
	pacetest.Eventually(t, func() error { return has(p.Stderr(), "token cannot be read") })
	writeFile(t, late, "token", "late")
	awaitApplied(t, p, 4)
	if lines := p.Lines("configuration unchanged"); len(lines) > 0 {
		t.Errorf("reloads without a change: %v", lines)
	}
}

// What every user of the machine may read is no secret: check warns, and so does the start.
func TestSecrets_ThatEverybodyMayReadAreAWarning(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	file := writeFile(t, t.TempDir(), "token", secretToken)
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	p := pacetest.Start(t, withSecrets(t, b, file), secretEnv...)
	want := "every user of this machine can read a file with a key or another secret"
	if lines := p.Lines(want); len(lines) != 1 || !strings.Contains(lines[0].Text("remedy"), "chmod o-rwx "+file) {
		t.Errorf("the log has %v", lines)
	}
	exit := pacetest.Exec(t, t.TempDir(), secretEnv, "check", p.File)
	if exit.Code != 0 || !strings.Contains(exit.Stderr, "X-Login: warning: every user of this machine can read "+file+" (-rw-r--r--)") {
		t.Errorf("check exits with %d: %s", exit.Code, exit.Stderr)
	}
}

// A variable that is not set, and a file that is missing, end the start with their lines.
func TestSecrets_ThatAreMissingEndTheStart(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg := onFreePorts(t, withSecrets(t, b, "/nowhere/token"))
	file := writeFile(t, t.TempDir(), "proxy.toml", cfg.TOML())
	for _, verb := range []string{"run", "check"} {
		exit := pacetest.Exec(t, t.TempDir(), []string{"SECRET_CDN=x"}, verb, file)
		for _, want := range []string{
			`.body: the variable "SECRET_BODY" is not set; set it in the environment of pace`,
			".request_headers.set.X-Login: /nowhere/token cannot be read: no such file or directory; name a file",
		} {
			if exit.Code != 2 || strings.Count(exit.Stderr, want) != 1 || strings.Count(exit.Stderr, "\n") != 2 {
				t.Errorf("%s exits with %d:\n%swant %s", verb, exit.Code, exit.Stderr, want)
			}
		}
	}
}

// request returns a GET with one field.
func request(t *testing.T, p *pacetest.Pace, path, name, value string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+p.Proxy+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(name, value)
	return req
}

// do sends a request, and reads its response.
func do(t *testing.T, req *http.Request) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil {
		t.Fatal(err)
	}
}

// awaited returns the spans once there are n.
func awaited(r *otlp.Recv, n int) (all []otlp.Span) {
	r.Wait(func(spans []otlp.Span) bool {
		all = spans
		return len(spans) >= n
	})
	return all
}

// adminPage returns a page of the admin listener.
func adminPage(t *testing.T, p *pacetest.Pace, path string) string {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("%s: %d %v", path, resp.StatusCode, err)
	}
	return string(body)
}
