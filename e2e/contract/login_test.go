package contract

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

// windows is a backend with a login that holds for the connection, as IIS has it: a challenge, a second
// one within the handshake, and then everybody on that connection is the one who logged in.
type windows struct {
	scheme string
	mu     sync.Mutex
	users  map[int]string // by connection; guarded by mu
}

func (w *windows) respond(x *pacetest.Exchange) {
	x.ReadBody()
	w.mu.Lock()
	defer w.mu.Unlock()
	scheme, token, _ := strings.Cut(x.Header.Get("Authorization"), " ")
	switch user := w.users[x.Conn]; {
	case strings.EqualFold(scheme, w.scheme) && token == "type1":
		w.users[x.Conn] = "?"
		pacetest.With(401, "WWW-Authenticate: "+w.scheme+" type2\r\n", "go on")(x)
	case strings.EqualFold(scheme, w.scheme) && user == "?":
		w.users[x.Conn] = token
		pacetest.Status(200, "hello "+token)(x)
	case user != "" && user != "?":
		pacetest.Status(200, "hello "+user)(x)
	default:
		pacetest.With(401, "WWW-Authenticate: "+w.scheme+"\r\n", "who are you")(x)
	}
}

// TestLogin_BoundToAConnectionIsTheClientsOwn: no other client gets the login of a client, and a client that
// logged in stays logged in on its connection, at the same backend.
func TestLogin_BoundToAConnectionIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	testLogins(t, false)
}

// TestLogin_OverTLSIsTheClientsOwn: the same with backends over TLS, which choose between the protocols.
func TestLogin_OverTLSIsTheClientsOwn(t *testing.T) {
	t.Parallel()
	testLogins(t, true)
}

func testLogins(t *testing.T, overTLS bool) {
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for _, scheme := range []string{"NTLM", "Negotiate"} {
			w1, w2 := &windows{scheme: scheme, users: map[int]string{}}, &windows{scheme: scheme, users: map[int]string{}}
			var b1, b2 *pacetest.Backend
			var cfg pacetest.Config
			if overTLS {
				ca := pacetest.NewCA(t)
				b1, b2 = pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), w1.respond), pacetest.NewTLSBackend(t, ca.Server("127.0.0.1"), w2.respond)
				cfg = trusting(ca, b1, b2)
			} else {
				b1, b2 = pacetest.NewBackend(t, w1.respond), pacetest.NewBackend(t, w2.respond)
				cfg = upstreams(b1, b2)
			}
			p := pacetest.Start(t, cfg)
			alice, bob := mode.Client(t), mode.Client(t)
			ask := func(c *http.Client, authorization string) pacetest.Response {
				if authorization == "" {
					return pacetest.Do(c, p.Request("GET", "/x", ""))
				}
				return pacetest.Do(c, p.Request("POST", "/x", "data", "Authorization", authorization))
			}
			wantStatus(t, ask(alice, ""), 401)
			wantStatus(t, ask(alice, scheme+" type1"), 401)
			for range 4 {
				wantStatus(t, ask(bob, ""), 401) // between the two, too
			}
			got := ask(alice, strings.ToLower(scheme)+" alice")
			wantStatus(t, got, 200)
			home := got.Header.Get("X-Backend")
			for range 6 {
				if got := ask(alice, ""); got.Status != 200 || got.Body != "hello alice" || got.Header.Get("X-Backend") != home {
					t.Fatalf("%s: alice got %d %q of %s, want to be known at %s", scheme, got.Status, got.Body, got.Header.Get("X-Backend"), home)
				}
				if got := ask(bob, ""); got.Status != 401 || strings.Contains(got.Body, "alice") {
					t.Fatalf("%s: bob got %d %q", scheme, got.Status, got.Body)
				}
			}
			wantStatus(t, ask(bob, scheme+" type1"), 401)
			wantStatus(t, ask(bob, scheme+" bob"), 200)
			for c, name := range map[*http.Client]string{alice: "alice", bob: "bob"} {
				if got := ask(c, ""); got.Body != "hello "+name {
					t.Errorf("%s: %s got %q", scheme, name, got.Body)
				}
			}
			// With the client's connection the backend's is closed.
			alice.CloseIdleConnections()
			bob.CloseIdleConnections()
			for n, w := range []*windows{w1, w2} {
				w.mu.Lock()
				logins := 0
				for _, user := range w.users {
					if user != "" {
						logins++
					}
				}
				w.mu.Unlock()
				b := []*pacetest.Backend{b1, b2}[n]
				pacetest.Eventually(t, func() error {
					if open := b.Open(); open > b.Accepted()-logins {
						return fmt.Errorf("%s: backend %d has %d of %d connections open, with %d logins", scheme, n+1, open, b.Accepted(), logins)
					}
					return nil
				})
			}
			for range 4 {
				wantStatus(t, p.Get("/x"), 401)
			}
		}
	})
}

// TestLogin_SentAheadCountsToo: without any challenge before it, on a connection of the pool.
func TestLogin_SentAheadCountsToo(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	users := map[int]string{}
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		mu.Lock()
		if _, token, ok := strings.Cut(x.Header.Get("Authorization"), " "); ok {
			users[x.Conn] = token
		}
		user := users[x.Conn]
		mu.Unlock()
		pacetest.Status(200, "hello "+user)(x)
	})
	p, spans := pacetest.StartTraced(t, upstreams(b))
	wantStatus(t, p.Get("/before"), 200)
	alice := p.Wire()
	alice.Send("GET /login HTTP/1.1\r\nHost: x\r\nAuthorization: Negotiate alice\r\n\r\n")
	if got := alice.Response("GET"); got.Body != "hello alice" {
		t.Fatalf("alice got %q", got.Body)
	}
	for _, client := range []struct{ path, header, want string }{
		{"/stranger", "", "hello "},
		{"/basic", "Authorization: Basic bob\r\n", "hello bob"},
	} {
		w := p.Wire()
		w.Send("GET " + client.path + " HTTP/1.1\r\nHost: x\r\n" + client.header + "\r\n")
		if got := w.Response("GET"); got.Body != client.want {
			t.Errorf("%s got %q, want %q", client.path, got.Body, client.want)
		}
	}
	alice.Send("GET /again HTTP/1.1\r\nHost: x\r\n\r\n")
	if got := alice.Response("GET"); got.Body != "hello alice" {
		t.Errorf("alice then got %q", got.Body)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.Path("/again"))
	wantAttr(t, trace.Clients[0].Attrs, "pace.connection.reused", true)
	p.WantMetric(5, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
}

// TestLogin_TwoClientsBehindOneProxyAreTwo: their connection is one, their addresses are not.
func TestLogin_TwoClientsBehindOneProxyAreTwo(t *testing.T) {
	t.Parallel()
	w := &windows{scheme: "NTLM", users: map[int]string{}}
	b := pacetest.NewBackend(t, w.respond)
	p := pacetest.Start(t, set(upstreams(b), "server", "trusted_proxies", []string{"127.0.0.0/8"}))
	front := p.Wire()
	ask := func(client, authorization string) pacetest.Response {
		front.Send("GET /x HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + client + "\r\n" + authorization + "\r\n")
		return front.Response("GET")
	}
	ask("192.0.2.1", "Authorization: NTLM type1\r\n")
	wantStatus(t, ask("192.0.2.1", "Authorization: NTLM alice\r\n"), 200)
	wantStatus(t, ask("192.0.2.2", ""), 401)
	if got := ask("192.0.2.1", ""); got.Body != "hello alice" {
		t.Errorf("alice got %d %q", got.Status, got.Body)
	}
}
