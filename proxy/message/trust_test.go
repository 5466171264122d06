package message

import (
	"net/http"
	"net/netip"
	"testing"
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, s := range list {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestClient(t *testing.T) {
	trusted := NewTrust(prefixes("10.0.0.0/8", "2001:db8:1::/48", "127.0.0.1/32"))
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
		peer := NewPeer(netip.MustParseAddrPort(tt.peer), HTTP)
		if got := trusted.Forwarding(tt.header, "", &peer).Client; got.String() != tt.want {
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
		tr := NewTrust(prefixes("10.0.0.0/8"))
		peer := NewPeer(netip.MustParseAddrPort("192.0.2.1:1"), HTTP)
		if trusted {
			peer = NewPeer(netip.MustParseAddrPort("10.0.0.1:1"), HTTP)
		}
		h := http.Header{"Forwarded": {standard}}
		if legacy != "" {
			h["X-Forwarded-For"] = []string{legacy}
		}
		addr := tr.Forwarding(h, "", &peer).Client
		if !addr.IsValid() || addr.Is4In6() || addr.Zone() != "" {
			t.Fatalf("got %v", addr)
		}
		if !trusted && addr != peer.Addr {
			t.Fatalf("an untrusted peer's word was taken: %v", addr)
		}
	})
}
