package proxy

import (
	"context"
	"net/http"
	"net/netip"
	"strings"
	"testing"
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
		"all are trusted":                             {"10.1.1.1:1", http.Header{"X-Forwarded-For": {"10.2.2.2"}}, "10.1.1.1"},
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
		addr, text := trusted.client(r, &peer)
		if text != tt.want || addr.String() != tt.want {
			t.Errorf("%s: got %v and %q, want %s", name, addr, text, tt.want)
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
		addr, text := tr.client(r, &peer)
		if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" || addr.String() != text {
			t.Fatalf("got %v and %q", addr, text)
		}
		if !trusted && addr != peer.addr {
			t.Fatalf("an untrusted peer's word was taken: %v", addr)
		}
	})
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
