package proxy

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pace/limiter"
	"pace/proxy/front"
	"pace/proxy/message"
	"pace/telemetry/metrics"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// In a network whose addresses are all trusted, each client has a limit of its own.
func TestClient_AmongTrustedAddressesAlone(t *testing.T) {
	t.Parallel()
	p := start(t, func(o *setup) {
		o.Trusted = prefixes("127.0.0.0/8", "10.0.0.0/8")
		o.Limit = &Limit{Policy: "default", Window: limiter.NewWindow(limiter.Options{Max: 1, Per: time.Minute}), Per: time.Minute}
	}, origin(t, func(http.ResponseWriter, *http.Request) {}))
	want := []accessLine{{"client": "10.1.1.1", "status": 200.0}, {"client": "10.2.2.2", "status": 200.0}, {"client": "10.1.1.1", "status": 429.0}}
	for i, w := range want {
		p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: "+w.text("client")+", 10.9.9.9\r\nConnection: close\r\n\r\n")
		if l := p.lines(t, i+1)[i]; l["client"] != w["client"] || l["status"] != w["status"] {
			t.Errorf("request %d: got %v, want %v", i, l, w)
		}
	}
}

// Which scheme the client used only a trusted proxy can say; pace itself speaks one alone.
func TestScheme(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		trusted   string
		says      string
		want      string // in pace's signals
		forwarded string // to the backend
	}{
		"a trusted proxy says https":          {"127.0.0.0/8", "https", "https", "https"},
		"in capitals":                         {"127.0.0.0/8", "HTTPS", "https", "https"},
		"the first of several":                {"127.0.0.0/8", "https, http", "https", "https"},
		"a trusted proxy says http":           {"127.0.0.0/8", "http", "http", "http"},
		"a trusted proxy says nothing":        {"127.0.0.0/8", "", "http", "http"},
		"a trusted proxy says something else": {"127.0.0.0/8", "wss", "http", "wss"},
		"a trusted proxy says what is none":   {"127.0.0.0/8", "ht/tps", "http", "http"},
		"a stranger says https":               {"10.0.0.0/8", "https", "http", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, func(o *setup) { o.Trusted = prefixes(tt.trusted) }, rawOrigin(t, echoing("Forwarded")))
			_, body := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: "+tt.says+"\r\nConnection: close\r\n\r\n")
			p.line(t)
			if n := p.metric(t, metrics.ServerDuration.Name, "url_scheme", tt.want); n != 1 {
				t.Errorf("%v requests by %s, want 1", n, tt.want)
			}
			if !strings.HasSuffix(body, ";proto="+tt.forwarded) {
				t.Errorf("the backend was told %s", body)
			}
		})
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	under := func(word string) func(*http.Request) bool {
		p := &Plan{PlanOptions: PlanOptions{TraceTrust: word}, trust: message.NewTrust(prefixes("10.0.0.0/8"))}
		return p.public()
	}
	request := func(peer string) *http.Request {
		c := &front.Conn{Peer: message.NewPeer(netip.MustParseAddrPort(peer), message.HTTP)}
		r, _ := http.NewRequestWithContext(front.WithConn(t.Context(), c), "GET", "/", nil)
		return r
	}
	if under("all") != nil || under("") != nil {
		t.Error("all are continued: there is nobody to ask")
	}
	for _, tt := range []struct {
		word, peer string
		want       bool
	}{{"none", "10.0.0.1:1", true}, {"none", "192.0.2.1:1", true}, {"trusted", "10.0.0.1:1", false}, {"trusted", "192.0.2.1:1", true}} {
		if got := under(tt.word)(request(tt.peer)); got != tt.want {
			t.Errorf("%s, %s: got %v", tt.word, tt.peer, got)
		}
	}
}
