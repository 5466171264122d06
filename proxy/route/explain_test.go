package route

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	made, faults := NewTable([]Entry{
		{Match: "/"},
		{Match: "/users/"},
		{Match: "GET /users/{id}"},
		{Match: "GET /users/{id}", Name: "canary", When: []Condition{{"X-Canary", "1"}}},
		{Match: "POST /users/{id}/orders"},
		{Match: "api.example.com/users/me"},
		{Match: "/files/{$}"},
	})
	if faults != nil {
		t.Fatal(faults)
	}
	for _, tt := range []struct {
		name, method, url, canary string
		want                      string
	}{
		{"conditions, specificity and method", "GET", "http://a.example/users/7", "", `
			the route "GET /users/{id}" takes it
			/users/: it matches too, but "GET /users/{id}" is more specific
			/: it matches too, but "GET /users/{id}" is more specific
			canary: it wants X-Canary: 1, and the request has no such field`},
		{"more conditions", "HEAD", "http://a.example/users/7", "1", `
			the route "canary" takes it
			GET /users/{id}: it matches too, but "canary" has more conditions
			/users/: it matches too, but "canary" is more specific
			/: it matches too, but "canary" is more specific`},
		{"a repeated field", "GET", "http://a.example/users/7", "1,1", `
			the route "GET /users/{id}" takes it
			/users/: it matches too, but "GET /users/{id}" is more specific
			/: it matches too, but "GET /users/{id}" is more specific
			canary: the field X-Canary comes 2 times, and a repeated field never matches`},
		{"a host, and its absence", "GET", "http://API.example.com:80/users/me", "2", `
			the route "api.example.com/users/me" takes it
			GET /users/{id}: it matches too, but "api.example.com/users/me" names the host
			/users/: it matches too, but "api.example.com/users/me" names the host
			/: it matches too, but "api.example.com/users/me" names the host`},
		{"no slash, segments and methods", "PUT", "http://b.example/users", "", `
			the route "/" takes it
			/users/: its path goes on with a slash
			/files/{$}: segment 1 of its path is "files", not "users"
			GET /users/{id}: its path has more segments; its method is GET, not PUT`},
		{"a path that has another route where it is resolved", "GET", "http://b.example/files/../users/%2e/7", "", `
			a backend may resolve its path to "/users/7", which has the route "GET /users/{id}", while the path as it came has the route "/"
			/: it matches the path as it came
			/files/{$}: it matches only the path that ends in this slash
			GET /users/{id}: segment 1 of its path is "users", not "files"`},
		{"no method", "DELETE", "http://b.example/users/7/orders", "", `
			the route "/users/" takes it
			/: it matches too, but "/users/" is more specific
			POST /users/{id}/orders: its method is POST, not DELETE
			/files/{$}: segment 1 of its path is "files", not "users"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := http.NewRequest(tt.method, tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			for v := range strings.SplitSeq(tt.canary, ",") {
				if v != "" {
					r.Header.Add("X-Canary", v)
				}
			}
			e := made.Explain(Request{Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath(), Header: r.Header}, 3)
			var got strings.Builder
			got.WriteString(e.Why)
			for _, o := range e.Others {
				got.WriteString("\n" + o.Route.Name + ": " + o.Why)
			}
			if want := strings.ReplaceAll(strings.TrimSpace(tt.want), "\t", ""); got.String() != want {
				t.Errorf("%s %s: got\n%s\nwant\n%s", tt.method, tt.url, got.String(), want)
			}
		})
	}
}

// TestExplain_AgreesWithMatch holds the reasons to the tree: who is said to match is found there.
func TestExplain_AgreesWithMatch(t *testing.T) {
	for seed := range uint64(300) {
		draw := rand.New(rand.NewPCG(seed, 3))
		both := newBoth()
		for range 1 + draw.IntN(12) {
			both.register(t, randomPattern(draw))
		}
		made := table(t, both.patterns...)
		for range 20 {
			r := randomRequest(draw)
			q := Request{Method: r.Method, Host: r.Host, Path: r.URL.EscapedPath()}
			if draw.IntN(4) == 0 {
				q.Path = strings.ReplaceAll(q.Path, "/x", pick(draw, "//", "/.", "/%2e.", "/.."))
			}
			matching := map[*Route]bool{}
			made.all(q, func(r *Route) {
				if allows(r.Pattern.Method, q.Method) {
					matching[r] = true
				}
			})
			e := made.Explain(q, len(made.routes))
			for _, o := range e.Others {
				if says := strings.HasPrefix(o.Why, "it matches t"); says != matching[o.Route] || o.Why == "" {
					t.Fatalf("seed %d, %q: %+v: %q: got %q", seed, both.patterns, q, o.Route.Name, o.Why)
				}
			}
			if got, want := fmt.Sprint(e.Result), fmt.Sprint(made.Match(q)); got != want {
				t.Fatalf("seed %d: %+v: got %s, want %s", seed, q, got, want)
			}
		}
	}
}
