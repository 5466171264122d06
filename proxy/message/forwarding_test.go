package message

import (
	"bufio"
	"bytes"
	"net/http"
	"net/netip"
	"net/textproto"
	"strings"
	"testing"
)

// Whatever family of fields the trusted proxies in front speak, a backend is told the same in both.
func TestForwarding_TellsTheSameInBothFamilies(t *testing.T) {
	const proto, host, legacy = "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-For"
	tests := []struct {
		name   string
		header http.Header
		want   [4]string // X-Forwarded-For, -Host, -Proto, Forwarded
	}{
		{"nothing is said", nil,
			[4]string{"10.1.1.1", "here", "http", `for=10.1.1.1;host="here";proto=http`}},
		{"only the X-Forwarded fields are spoken", http.Header{legacy: {"192.0.2.7"}, proto: {"https"}, host: {"shop"}},
			[4]string{"192.0.2.7, 10.1.1.1", "shop", "https", `for=192.0.2.7;host="shop";proto=https, for=10.1.1.1;host="shop";proto=https`}},
		{"only X-Forwarded-Proto is spoken", http.Header{proto: {"https"}},
			[4]string{"10.1.1.1", "here", "https", `for=10.1.1.1;host="here";proto=https`}},
		{"only Forwarded is spoken", http.Header{"Forwarded": {`for="[2001:db8::7]:4711";host=shop;proto=https`}},
			[4]string{"2001:db8::7, 10.1.1.1", "shop", "https", `for="[2001:db8::7]:4711";host=shop;proto=https, for=10.1.1.1;host="shop";proto=https`}},
		{"Forwarded over several proxies goes on as it came", http.Header{"Forwarded": {"for=_hidden;proto=https", "for=unknown;proto=http, for=10.2.2.2;by=10.1.1.1"}},
			[4]string{"unknown, unknown, 10.2.2.2, 10.1.1.1", "here", "http", `for=_hidden;proto=https, for=unknown;proto=http, for=10.2.2.2;by=10.1.1.1, for=10.1.1.1;host="here";proto=http`}},
		{"the client's own element counts", http.Header{"Forwarded": {"for=6.6.6.6;proto=https;host=evil, for=192.0.2.7;proto=http;host=shop, for=10.2.2.2;host=inner;proto=https"}},
			[4]string{"6.6.6.6, 192.0.2.7, 10.2.2.2, 10.1.1.1", "shop", "http", `for=6.6.6.6;proto=https;host=evil, for=192.0.2.7;proto=http;host=shop, for=10.2.2.2;host=inner;proto=https, for=10.1.1.1;host="shop";proto=http`}},
		{"both say the same", http.Header{legacy: {"192.0.2.7, 10.2.2.2"}, proto: {"https"}, "Forwarded": {"For=192.0.2.7;Proto=HTTPS;secret=x"}},
			[4]string{"192.0.2.7, 10.2.2.2, 10.1.1.1", "here", "https", `For=192.0.2.7;Proto=HTTPS;secret=x, for=10.1.1.1;host="here";proto=https`}},
		{"they differ in the scheme", http.Header{legacy: {"192.0.2.7"}, proto: {"https"}, "Forwarded": {"for=192.0.2.7;proto=http"}},
			[4]string{"192.0.2.7, 10.1.1.1", "here", "https", `for=192.0.2.7;host="here";proto=https, for=10.1.1.1;host="here";proto=https`}},
		{"they differ in the client", http.Header{legacy: {"192.0.2.7"}, "Forwarded": {"for=6.6.6.6"}},
			[4]string{"192.0.2.7, 10.1.1.1", "here", "http", `for=192.0.2.7;host="here";proto=http, for=10.1.1.1;host="here";proto=http`}},
		{"Forwarded has an address more", http.Header{legacy: {"192.0.2.7"}, "Forwarded": {"for=6.6.6.6, for=192.0.2.7"}},
			[4]string{"192.0.2.7, 10.1.1.1", "here", "http", `for=192.0.2.7;host="here";proto=http, for=10.1.1.1;host="here";proto=http`}},
		{"they differ in the host", http.Header{host: {"shop"}, "Forwarded": {"for=192.0.2.7;host=evil"}},
			[4]string{"192.0.2.7, 10.1.1.1", "shop", "http", `for=192.0.2.7;host="shop";proto=http, for=10.1.1.1;host="shop";proto=http`}},
		{"lists of the same length count one by one", http.Header{legacy: {"6.6.6.6, 192.0.2.7, 10.2.2.2"}, proto: {"https, http, https"}, host: {"evil, shop, inner"}},
			[4]string{"6.6.6.6, 192.0.2.7, 10.2.2.2, 10.1.1.1", "shop", "http",
				`for=6.6.6.6;host="shop";proto=http, for=192.0.2.7;proto=http, for=10.2.2.2;proto=http, for=10.1.1.1;host="shop";proto=http`}},
		{"empty elements are none", http.Header{legacy: {",192.0.2.7,, 10.2.2.2", ","}, proto: {", https"}, "Forwarded": {",,"}},
			[4]string{"192.0.2.7, 10.2.2.2, 10.1.1.1", "here", "https", `for=192.0.2.7;host="here";proto=https, for=10.2.2.2;proto=https, for=10.1.1.1;host="here";proto=https`}},
		{"ports and brackets", http.Header{legacy: {"192.0.2.7:80, [2001:db8::7]:80, 2001:db8::8, who"}},
			[4]string{"192.0.2.7:80, [2001:db8::7]:80, 2001:db8::8, who, 10.1.1.1", "here", "http",
				`for=192.0.2.7;host="here";proto=http, for="[2001:db8::7]";proto=http, for="[2001:db8::8]";proto=http, for=unknown;proto=http, for=10.1.1.1;host="here";proto=http`}},
		{"Forwarded that can be read in two ways is made anew", http.Header{"Forwarded": {`for=192.0.2.7;proto=https;evil="x, for=2001:db8::7 ; proto = https`}},
			[4]string{"unknown, 2001:db8::7, 10.1.1.1", "here", "https", `for=unknown;host="here";proto=https, for="[2001:db8::7]";proto=https, for=10.1.1.1;host="here";proto=https`}},
		{"an element without for tells no address", http.Header{"Forwarded": {"proto=https;host=shop"}},
			[4]string{"10.1.1.1", "shop", "https", `proto=https;host=shop, for=10.1.1.1;host="shop";proto=https`}},
	}
	trusted := NewTrust(prefixes("10.0.0.0/8"))
	peer := NewPeer(netip.MustParseAddrPort("10.1.1.1:1"), HTTP)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := trusted.Forwarding(tt.header, "here", &peer)
			got := parsed(t, string(a.AppendFields(nil, &peer)))
			for i, name := range []string{legacy, host, proto, "Forwarded"} {
				if got.Get(name) != tt.want[i] {
					t.Errorf("%s\n got %s\nwant %s", name, got.Get(name), tt.want[i])
				}
			}
		})
	}
}

// What a trusted proxy says may be long, but what pace makes of it is bounded.
func TestForwarding_IsBounded(t *testing.T) {
	trusted := NewTrust(prefixes("10.0.0.0/8"))
	peer := NewPeer(netip.MustParseAddrPort("10.1.1.1:1"), HTTP)
	h := http.Header{"X-Forwarded-For": {strings.Repeat("x,", 30_000) + "192.0.2.7"}, "X-Forwarded-Host": {strings.Repeat("h", 10_000)}}
	a := trusted.Forwarding(h, "", &peer)
	if n := len(a.AppendFields(nil, &peer)); n > 50_000 || a.Client.String() != "192.0.2.7" {
		t.Errorf("%d bytes, client %v", n, a.Client)
	}
}

func parsed(t testing.TB, lines string) http.Header {
	t.Helper()
	h, err := textproto.NewReader(bufio.NewReader(strings.NewReader(lines + "\r\n"))).ReadMIMEHeader()
	if err != nil {
		t.Fatalf("%v in %q", err, lines)
	}
	return http.Header(h)
}

// FuzzAppendQuoted holds that what is quoted comes back (RFC 9110 §5.6.4).
func FuzzAppendQuoted(f *testing.F) {
	f.Add(`a"b\c`)
	f.Fuzz(func(t *testing.T, s string) {
		got := appendQuoted(nil, s)
		var back bytes.Buffer
		for i := 1; i < len(got)-1; i++ {
			if got[i] == '"' {
				t.Fatalf("%q ends early: %s", s, got)
			}
			if got[i] == '\\' {
				i++
			}
			back.WriteByte(got[i])
		}
		if back.String() != s {
			t.Fatalf("%q came back as %q", s, back.String())
		}
	})
}
