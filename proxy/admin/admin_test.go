package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "rewrite docs/openapi.json")

// TestOpenAPI holds the page to the table of calls, whose rows are what Register serves.
func TestOpenAPI(t *testing.T) {
	const page = "../../docs/openapi.json"
	var want bytes.Buffer
	if err := WriteOpenAPI(&want); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(page); err != nil || !bytes.Equal(got, want.Bytes()) {
		t.Errorf("%s is stale (%v): run go test ./proxy/admin -update", page, err)
	}
}

// fake is an API over values of the test.
func fake(token string) (http.Handler, *bytes.Buffer) {
	var log bytes.Buffer
	name := "api"
	mux := http.NewServeMux()
	Register(mux, Options{
		Log:   slog.New(slog.NewTextHandler(&log, nil)),
		Token: token,
		Config: func() Config {
			return Config{File: "p.toml", LastReload: Reload{Result: "applied", Faults: []string{}}}
		},
		Routes: func() []Route {
			return []Route{{Name: name, Match: "/", When: map[string]string{}, Action: "upstream api"}}
		},
		Match: func(method, url string, header []string) (Match, error) {
			if url == "" {
				return Match{}, errors.New("the url is missing")
			}
			return Match{Route: &name, Limits: header, Others: []Other{{"rest", method}}}, nil
		},
		Upstreams: func() []Upstream {
			return []Upstream{{Name: name, Backends: []Backend{
				{Address: "10.0.0.1:80", State: "healthy", Weight: 1, Connections: 2},
				{Address: "10.0.0.2:80", State: "unhealthy", Reason: "3 checks in a row failed", LastCheck: &Check{Error: "refused"}},
			}}}
		},
		Order: func(o BackendOrder) (Backend, error) {
			if o.Upstream != name || o.Address != "10.0.0.1:80" && o.Address != "/run/app.sock" {
				return Backend{}, errors.New("there is none")
			}
			return Backend{Address: o.Address, State: o.Order, Reason: o.By}, nil
		},
		Reload: func(by string) Reload {
			if strings.Contains(by, "unix") {
				return Reload{Result: Refused, Faults: []string{"p.toml:1: a fault"}}
			}
			return Reload{Result: "unchanged"}
		},
		SetLevel: func(slog.Level, time.Duration, func(slog.Level)) {},
	})
	return mux, &log
}

func ask(h http.Handler, local bool, method, target, body, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	at := net.Addr(&net.TCPAddr{})
	if local {
		at = &net.UnixAddr{Net: "unix"}
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, at)))
	return w
}

// Every response has the type that the table says, and so the page: no field is missing or unknown.
func TestCalls_RespondAsTheTableSays(t *testing.T) {
	const token = "0123456789abcdef"
	h, _ := fake(token)
	level := `{"level":"debug","for":"1m"}`
	for _, tt := range []struct {
		name, method, target, body string
		local                      bool
		status                     int
	}{
		{"the configuration", "GET", "/api/v1/config", "", false, 200},
		{"the routes", "GET", "/api/v1/routes", "", false, 200},
		{"a match", "GET", "/api/v1/routes/match?url=/x&header=A:%201", "", false, 200},
		{"a match of nothing", "GET", "/api/v1/routes/match", "", false, 400},
		{"a match of what nobody asks for", "GET", "/api/v1/routes/match?url=/x&host=y", "", false, 400},
		{"a match of two URLs", "GET", "/api/v1/routes/match?url=/x&url=/y", "", false, 400},
		{"a match of half a query", "GET", "/api/v1/routes/match?url=/x;header=A:%201", "", false, 400},
		{"the upstreams", "GET", "/api/v1/upstreams", "", false, 200},
		{"a drain", "POST", "/api/v1/upstreams/api/backends/10.0.0.1:80/drain", "", false, 200},
		{"an undrain of a unix socket", "POST", "/api/v1/upstreams/api/backends/%2Frun%2Fapp.sock/undrain", "", true, 200},
		{"an ejection of what is no backend", "POST", "/api/v1/upstreams/api/backends/10.0.0.9:80/eject", "", false, 404},
		{"a readmission in an upstream that is none", "POST", "/api/v1/upstreams/ape/backends/10.0.0.1:80/readmit", "", false, 404},
		{"a reload", "POST", "/api/v1/reload", "", false, 200},
		{"a reload that is refused", "POST", "/api/v1/reload", "", true, 422},
		{"a level", "PUT", "/api/v1/log/level", level, false, 200},
		{"a level that nobody knows", "PUT", "/api/v1/log/level", `{"level":"loud","for":"1m"}`, false, 400},
		{"a level for ever", "PUT", "/api/v1/log/level", `{"level":"info","for":"25h"}`, false, 400},
		{"a level for no time", "PUT", "/api/v1/log/level", `{"level":"info"}`, false, 400},
		{"a level with something else", "PUT", "/api/v1/log/level", `{"level":"info","for":"1m","file":"x"}`, false, 400},
		{"two levels", "PUT", "/api/v1/log/level", level + level, false, 400},
		{"a level that is no JSON", "PUT", "/api/v1/log/level", `debug`, false, 400},
	} {
		w := ask(h, tt.local, tt.method, tt.target, tt.body, "Bearer "+token)
		if w.Code != tt.status || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: got %d %s, want %d", tt.name, w.Code, w.Body, tt.status)
			continue
		}
		_, pattern := h.(*http.ServeMux).Handler(httptest.NewRequest(tt.method, tt.target, nil))
		for _, c := range calls {
			if c.method+" "+c.path == pattern {
				wantType(t, tt.name, w.Body.Bytes(), schemaFor(c, tt.status))
			}
		}
	}
}

func schemaFor(c call, status int) object {
	return c.operation()["responses"].(object)[itoa(status)].(object)["content"].(object)["application/json"].(object)["schema"].(object)
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

// wantType compares the names of an object's fields with its schema's.
func wantType(t *testing.T, name string, body []byte, schema object) {
	t.Helper()
	var got object
	if err := json.Unmarshal(body, &got); err != nil {
		t.Errorf("%s: %v in %s", name, err, body)
	}
	properties := schema["properties"].(object)
	for field := range properties {
		if _, ok := got[field]; !ok {
			t.Errorf("%s: %s is missing in %s", name, field, body)
		}
	}
	for field := range got {
		if _, ok := properties[field]; !ok {
			t.Errorf("%s: %s is not on the page", name, field)
		}
	}
}

// TestAccess: only the token or a socket in the file system lets a call change something, and all may look.
func TestAccess(t *testing.T) {
	const token = "0123456789abcdef"
	for _, tt := range []struct {
		name              string
		configured, given string
		local             bool
		status            int
	}{
		{"the token", token, "Bearer " + token, false, 200},
		{"the scheme in small letters, which RFC 9110 §11.1 allows", token, "bearer " + token, false, 200},
		{"another token", token, "Bearer 0123456789abcdeg", false, 401},
		{"a part of the token", token, "Bearer 0123", false, 401},
		{"the token without its scheme", token, token, false, 401},
		{"no token", token, "", false, 401},
		{"an empty token where none is configured", "", "Bearer ", false, 403},
		{"no token where none is configured", "", "", false, 403},
		{"a socket in the file system", "", "", true, 422},
		{"a socket in the file system, although there is a token", token, "", true, 422},
	} {
		h, log := fake(tt.configured)
		w := ask(h, tt.local, "POST", "/api/v1/reload", "", tt.given)
		if w.Code != tt.status {
			t.Errorf("%s: got %d %s, want %d", tt.name, w.Code, w.Body, tt.status)
		}
		refused := tt.status == 401 || tt.status == 403
		if refused != strings.Contains(log.String(), "call of the API refused") || strings.Contains(log.String(), token) {
			t.Errorf("%s: the log says %q", tt.name, log)
		}
		if w := ask(h, false, "GET", "/api/v1/routes", "", ""); w.Code != 200 {
			t.Errorf("%s: to look is refused: %d", tt.name, w.Code)
		}
	}
}
