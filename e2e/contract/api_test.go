package contract

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

// callAPI makes a call of the admin API and returns its status and body. token may be "".
func callAPI(t *testing.T, p *pacetest.Pace, token, method, path, body string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+p.Admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw, &got); err != nil {
		t.Fatalf("%s %s: %v in %s", method, path, err, raw)
	}
	return resp.StatusCode, got
}

// wantAPI fails t unless a call has this status and its body, as JSON, holds the texts.
func wantAPI(t *testing.T, p *pacetest.Pace, token, method, path, body string, status int, texts ...string) {
	t.Helper()
	got, o := callAPI(t, p, token, method, path, body)
	raw, _ := json.Marshal(o)
	if got != status {
		t.Errorf("%s %s: got %d %s, want %d", method, path, got, raw, status)
	}
	for _, text := range texts {
		if !strings.Contains(string(raw), text) {
			t.Errorf("%s %s: %s is not in %s", method, path, text, raw)
		}
	}
}

const firstToken, secondToken = "0123456789abcdef0123", "fedcba98765432100123"

// withToken returns cfg with a token file, and the file.
func withToken(t *testing.T, cfg pacetest.Config, token string) (pacetest.Config, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return set(cfg, "admin", "token_file", file), file
}

func TestAPI_ShowsWhatIsInForce(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/held": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	p := pacetest.Start(t, set(upstreams(b), "server", "idle_timeout", "33s"))
	wantAPI(t, p, "", "GET", "/api/v1/config", "", 200, `"idle_timeout":"33s"`, `"file":"`+p.File+`"`, `"result":"applied"`, `"faults":[]`)
	wantAPI(t, p, "", "GET", "/api/v1/routes", "", 200, `{"routes":[{"action":"upstream default","match":"/","name":"default","when":{}}]}`)
	wantAPI(t, p, "", "GET", "/api/v1/routes/match?method=GET&url=https://x.example/a?b=c", "", 200,
		`"route":"default"`, `"upstream":"default"`, `"backend_path":"/a?b=c"`, `"others":[]`)
	wantAPI(t, p, "", "GET", "/api/v1/routes/match?url=nowhere", "", 400, `"error":`)
	held := p.Wire()
	held.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/held")
	wantAPI(t, p, "", "GET", "/api/v1/upstreams", "", 200,
		fmt.Sprintf(`{"upstreams":[{"backends":[{"active":1,"address":%q,"connections":1,"last_check":null,"reason":"","scheme":"http","since":"`, b.Address()),
		`","state":"healthy","weight":1}],"name":"default","policy":"round_robin"}]}`)
	close(open)
	wantStatus(t, held.Response("GET"), 200)
	pacetest.Eventually(t, func() error {
		if _, got := callAPI(t, p, "", "GET", "/api/v1/upstreams", ""); !strings.Contains(fmt.Sprint(got), "active:0") || !strings.Contains(fmt.Sprint(got), "connections:1") {
			return notYet("%v", got)
		}
		return nil
	})
}

func TestAPI_Reload(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg, token := withToken(t, upstreams(b), firstToken)
	p := pacetest.Start(t, cfg)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 200, `{"changes":[],"result":"unchanged"}`)
	p.Write(set(cfg, "headers", "proxy_value", "new"))
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 200, `"result":"applied"`, `headers.proxy_value: \"pace\" became \"new\"`)
	p.AwaitReload(1)
	lines := p.Lines("configuration reloaded")
	if len(lines) != 1 || !strings.HasPrefix(lines[0].Text("by"), "API, 127.0.0.1:") {
		t.Errorf("the log does not say who asked: %v", lines)
	}
	p.WriteTOML("[upstreams]\nbackends = []\n[nonsense]\n")
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 422, `"result":"refused"`, p.File+`:2: upstreams.backends: the list is empty`, p.File+`:3: nonsense: unknown table`)
	wantAPI(t, p, "", "GET", "/api/v1/config", "", 200, `"result":"refused"`, `:3: nonsense: unknown table`, `"proxy_value":"new"`)
	// Another token is in force when its file has changed and is read again.
	p.Write(set(cfg, "headers", "proxy_value", "new"))
	if err := os.WriteFile(token, []byte(secondToken), 0o600); err != nil {
		t.Fatal(err)
	}
	wantAPI(t, p, secondToken, "POST", "/api/v1/reload", "", 401, `"error":`)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 200, `"changes":["admin.token_file: its content changed"]`)
	wantAPI(t, p, firstToken, "POST", "/api/v1/reload", "", 401, `"error":`)
	wantAPI(t, p, secondToken, "POST", "/api/v1/reload", "", 200, `"unchanged"`)
	for _, secret := range []string{firstToken, secondToken} {
		if strings.Contains(p.Output(), secret) {
			t.Error("a token is in the log")
		}
	}
}

func TestAPI_WithoutATokenNothingChanges(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)))
	wantAPI(t, p, "", "POST", "/api/v1/reload", "", 403, `"error":`)
	wantAPI(t, p, firstToken, "PUT", "/api/v1/log/level", `{"level":"debug","for":"1m"}`, 403, `"error":`)
	pacetest.Eventually(t, func() error {
		if lines := p.Lines("call of the API refused"); len(lines) != 2 || lines[0].Text("path") != "/api/v1/reload" {
			return notYet("%v", lines)
		}
		return nil
	})
	if len(p.Reloads()) != 0 {
		t.Error("pace reloaded")
	}
}

// The level goes back by itself.
func TestAPI_LogLevel(t *testing.T) {
	t.Parallel()
	cfg, _ := withToken(t, set(upstreams(pacetest.NewBackend(t, pacetest.Fine)), "log", "level", "warn"), firstToken)
	p := pacetest.Launch(t, nil, "run", writeFile(t, t.TempDir(), "proxy.toml", onFreePorts(t, set(cfg, "log", "format", "json")).TOML()))
	p.Proxy, p.Admin = cfg["server"]["listen"].(string), cfg["admin"]["listen"].(string)
	awaitServing(t, p)
	p.AwaitReady()
	wantStatus(t, p.Get("/unseen"), 200)
	wantAPI(t, p, firstToken, "PUT", "/api/v1/log/level", `{"level":"info","for":"2s"}`, 200, `"level":"info"`, `"until":`)
	wantStatus(t, p.Get("/seen"), 200)
	p.WantAccess("/seen")
	pacetest.Eventually(t, func() error {
		if len(p.Lines("log level of the configuration is in force again")) != 1 {
			return notYet("the level has not gone back")
		}
		return nil
	})
	wantStatus(t, p.Get("/unseen"), 200)
	if lines := p.Access("/unseen"); len(lines) != 0 {
		t.Errorf("lines below the level were written: %v", lines)
	}
	pacetest.Eventually(t, func() error {
		if lines := p.Lines("log level set"); len(lines) != 1 || !strings.HasPrefix(lines[0].Text("by"), "API, ") {
			return notYet("the log does not say who asked: %v", lines)
		}
		return nil
	})
}

// A token file that is missing, short or no token ends the start with a fault.
func TestAPI_TokenFile(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"a short one": "0123456789abcde", "an empty one": " \n", "one with a blank": "0123456789 abcdef"} {
		cfg, _ := withToken(t, upstreams(pacetest.NewBackend(t, pacetest.Fine)), content)
		file := writeFile(t, t.TempDir(), "proxy.toml", onFreePorts(t, cfg).TOML())
		if got := pacetest.Exec(t, t.TempDir(), nil, "run", file); got.Code != 2 || !strings.Contains(got.Stderr, ": admin.token_file: the token has ") {
			t.Errorf("%s: got %d %s", name, got.Code, got.Stderr)
		}
	}
}

// TestOpenAPI_EveryCallIsServed reads the page, and asks for every path on it.
func TestOpenAPI_EveryCallIsServed(t *testing.T) {
	t.Parallel()
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(root, "docs/openapi.json"))
	if err != nil {
		t.Fatal(err)
	}
	var page struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(raw, &page); err != nil || len(page.Paths) < 9 {
		t.Fatalf("%d paths, %v", len(page.Paths), err)
	}
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	filled := strings.NewReplacer("{trace}", strings.Repeat("a", 32), "{upstream}", "default", "{address}", b.Address())
	for path, calls := range page.Paths {
		for method := range calls {
			if path == "/api/v1/tail" {
				path += "?since=never" // refused: it would go on for ever
			}
			status, _ := callAPI(t, p, "", strings.ToUpper(method), filled.Replace(path), "")
			if want := !strings.Contains(path, "{trace}"); (status != 404) != want {
				t.Errorf("%s %s: got %d", method, path, status)
			}
		}
	}
}
