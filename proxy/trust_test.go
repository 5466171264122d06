package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pace/limiter"
	"pace/telemetry"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestClient(t *testing.T) {
	trusted := newTrust(prefixes("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32"))
	for name, tt := range map[string]struct {
		peer   string
		header http.Header
		want   string
	}{
		"nobody forwarded":                            {"192.0.2.1:1", nil, "192.0.2.1"},
		"who is not trusted cannot claim":             {"192.0.2.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"}}, "192.0.2.1"},
		"whom a trusted proxy asked for":              {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7"}}, "192.0.2.7"},
		"through several proxies":                     {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7, 10.2.2.2, 10.3.3.3"}}, "192.0.2.7"},
		"the rightmost that is not trusted":           {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6, 192.0.2.7, 10.2.2.2"}}, "192.0.2.7"},
		"over several fields":                         {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6", "192.0.2.7", "10.2.2.2"}}, "192.0.2.7"},
		"rubbish ends the search":                     {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"6.6.6.6, rubbish, 10.2.2.2"}}, "10.1.1.1"},
		"the leftmost if all are trusted":             {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"10.4.4.4, 10.3.3.3", "10.2.2.2"}}, "10.4.4.4"},
		"and if it is alone":                          {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"10.2.2.2"}}, "10.2.2.2"},
		"and in Forwarded":                            {"10.1.1.1:1", http.Header{"Forwarded": {`for=10.4.4.4, for="10.3.3.3:80"`}}, "10.4.4.4"},
		"but not beyond rubbish":                      {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"10.4.4.4, rubbish, 10.2.2.2"}}, "10.1.1.1"},
		"an empty element is none":                    {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7, , 10.2.2.2", " ,"}}, "192.0.2.7"},
		"an empty element of Forwarded is none":       {"10.1.1.1:1", http.Header{"Forwarded": {"for=192.0.2.7,, for=10.2.2.2,"}}, "192.0.2.7"},
		"a comma in quotes ends no element":           {"10.1.1.1:1", http.Header{"Forwarded": {`for=192.0.2.7;by="_a,b";host="x, for=6.6.6.6"`}}, "192.0.2.7"},
		"quotes around the whole list":                {"10.1.1.1:1", http.Header{"X-Forwarded-For": {`"192.0.2.7, 10.2.2.2"`}}, "192.0.2.7"},
		"an escaped quotation mark ends no quotes":    {"10.1.1.1:1", http.Header{"Forwarded": {`for=192.0.2.7;host="a\",b"`}}, "192.0.2.7"},
		"quotes that nobody closes hide no proxy":     {"10.1.1.1:1", http.Header{"Forwarded": {`for="6.6.6.6, for=192.0.2.7`}}, "192.0.2.7"},
		"nor in a line of their own":                  {"10.1.1.1:1", http.Header{"Forwarded": {`for="6.6.6.6`, `for="192.0.2.7"`}}, "192.0.2.7"},
		"an element without for ends the search":      {"10.1.1.1:1", http.Header{"Forwarded": {"for=6.6.6.6, proto=https"}}, "10.1.1.1"},
		"a parameter twice is not believed":           {"10.1.1.1:1", http.Header{"Forwarded": {"for=6.6.6.6;for=7.7.7.7"}}, "10.1.1.1"},
		"a port that is hidden":                       {"10.1.1.1:1", http.Header{"Forwarded": {`for="192.0.2.7:_port"`}}, "192.0.2.7"},
		"a port that is none":                         {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7:x"}}, "10.1.1.1"},
		"brackets around IPv4":                        {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"[192.0.2.7]:80"}}, "10.1.1.1"},
		"no address at all":                           {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"0.0.0.0"}}, "10.1.1.1"},
		"an empty field":                              {"10.1.1.1:1", http.Header{"X-Forwarded-For": {""}}, "10.1.1.1"},
		"with a port":                                 {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7:4711"}}, "192.0.2.7"},
		"an IPv6 client":                              {"[2001:db8:1::1]:1", http.Header{"X-Forwarded-For": {"2001:db8:9::9"}}, "2001:db8:9::9"},
		"an IPv6 client in brackets":                  {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"[2001:db8:9::9]:80"}}, "2001:db8:9::9"},
		"an IPv4-mapped client is the IPv4 one":       {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"::ffff:192.0.2.7"}}, "192.0.2.7"},
		"an IPv4-mapped proxy is trusted":             {"[::ffff:10.1.1.1]:1", http.Header{"X-Forwarded-For": {"192.0.2.7, ::ffff:10.2.2.2"}}, "192.0.2.7"},
		"an IPv4-mapped peer":                         {"[::ffff:192.0.2.1]:1", nil, "192.0.2.1"},
		"a zone says nothing":                         {"[fe80::1%eth0]:1", nil, "fe80::1"},
		"Forwarded, if there is no other":             {"10.1.1.1:1", http.Header{"Forwarded": {`for=192.0.2.7;proto=https, for="10.2.2.2"`}}, "192.0.2.7"},
		"Forwarded of IPv6 with a port":               {"10.1.1.1:1", http.Header{"Forwarded": {`For="[2001:db8:9::9]:4711"`}}, "2001:db8:9::9"},
		"X-Forwarded-For goes before Forwarded":       {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7"}, "Forwarded": {"for=192.0.2.8"}}, "192.0.2.7"},
		"a name that Forwarded hides":                 {"10.1.1.1:1", http.Header{"Forwarded": {"for=_hidden"}}, "10.1.1.1"},
		"who is unknown to Forwarded":                 {"10.1.1.1:1", http.Header{"Forwarded": {"for=unknown"}}, "10.1.1.1"},
		"X-Real-Ip is handed on, but not believed":    {"10.1.1.1:1", http.Header{"X-Real-Ip": {"192.0.2.7"}}, "10.1.1.1"},
		"addresses that are none are not taken apart": {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"192.0.2.7\x00"}}, "10.1.1.1"},
	} {
		peer := trusted.peer(netip.MustParseAddrPort(tt.peer))
		r := &http.Request{Header: tt.header, RemoteAddr: tt.peer}
		if got := trusted.asked(r, &peer).client; got.String() != tt.want {
			t.Errorf("%s: got %v, want %s", name, got, tt.want)
		}
	}
}

// FuzzClient holds that whatever forwarding fields say, a client is an address, and nobody but a
// trusted proxy has a say in it.
func FuzzClient(f *testing.F) {
	f.Add("192.0.2.7, rubbish", `for="[::1]"`, true)
	f.Add(",,,", ";;;", true)
	f.Add("::ffff:1.2.3.4%x", "for=\"", true)
	f.Fuzz(func(t *testing.T, legacy, standard string, trusted bool) {
		tr := newTrust(prefixes("10.0.0.0/8"))
		peer := tr.peer(netip.MustParseAddrPort("192.0.2.1:1"))
		if trusted {
			peer = tr.peer(netip.MustParseAddrPort("10.0.0.1:1"))
		}
		r := &http.Request{Header: http.Header{"Forwarded": {standard}}, RemoteAddr: peer.text + ":1"}
		if legacy != "" {
			r.Header["X-Forwarded-For"] = []string{legacy}
		}
		addr := tr.asked(r, &peer).client
		if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("got %v", addr)
		}
		if !trusted && addr != peer.addr {
			t.Fatalf("an untrusted peer's word was taken: %v", addr)
		}
	})
}

// In a network whose addresses are all trusted, each client has a limit of its own.
func TestClient_AmongTrustedAddressesAlone(t *testing.T) {
	p := start(t, func(o *Options) {
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
	for name, tt := range map[string]struct {
		trusted string
		says    string
		want    string // in pace's signals
		told    string // to the backend
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
			p := start(t, func(o *Options) { o.Trusted = prefixes(tt.trusted) }, rawOrigin(t, telling("Forwarded")))
			_, body := p.ask(t, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: "+tt.says+"\r\nConnection: close\r\n\r\n")
			p.line(t)
			if n := p.metric(t, telemetry.MetricServerDuration, "url_scheme", tt.want); n != 1 {
				t.Errorf("%v requests by %s, want 1", n, tt.want)
			}
			if !strings.HasSuffix(body, ";proto="+tt.told) {
				t.Errorf("the backend was told %s", body)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	for name, tt := range map[string]struct {
		sent    string
		trusted bool
		kept    bool
	}{
		"a trusted proxy's is kept":      {"abc-123", true, true},
		"anybody else's is not":          {"abc-123", false, false},
		"none":                           {"", true, false},
		"one with a space":               {"a b", true, false},
		"one with a control character":   {"a\x7fb", true, false},
		"one that is not ASCII":          {"é", true, false},
		"one that is not UTF-8":          {"\xff", true, false},
		"the longest":                    {strings.Repeat("x", 128), true, true},
		"one that is too long":           {strings.Repeat("x", 129), true, false},
		"punctuation is nobody's harm":   {`{"a":1}`, true, true},
		"a line break would split a log": {"a\nb", true, false},
	} {
		r := &http.Request{Header: http.Header{}}
		if tt.sent != "" {
			r.Header.Set("X-Request-Id", tt.sent)
		}
		got := requestID(r, tt.trusted)
		if (got == tt.sent) != tt.kept || !tt.kept && (len(got) != 32 || strings.Trim(got, "0123456789abcdef") != "") {
			t.Errorf("%s: got %q for %q", name, got, tt.sent)
		}
		if !tt.kept && got == requestID(r, tt.trusted) {
			t.Errorf("%s: %q twice", name, got)
		}
	}
}

func TestPublic(t *testing.T) {
	tr := newTrust(prefixes("10.0.0.0/8"))
	request := func(peer string) *http.Request {
		c := &clientConn{peer: tr.peer(netip.MustParseAddrPort(peer))}
		r, _ := http.NewRequestWithContext(context.WithValue(t.Context(), connKey{}, c), "GET", "/", nil)
		return r
	}
	if tr.public("all") != nil || tr.public("") != nil {
		t.Error("all are continued: there is nobody to ask")
	}
	for _, tt := range []struct {
		word, peer string
		want       bool
	}{{"none", "10.0.0.1:1", true}, {"none", "192.0.2.1:1", true}, {"trusted", "10.0.0.1:1", false}, {"trusted", "192.0.2.1:1", true}} {
		if got := tr.public(tt.word)(request(tt.peer)); got != tt.want {
			t.Errorf("%s, %s: got %v", tt.word, tt.peer, got)
		}
	}
}
