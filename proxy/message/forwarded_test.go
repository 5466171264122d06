package message

import (
	"net/http"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/realclientip/realclientip-go"
)

// grammar is RFC 7239 §4 and §6, as far as pace reads it: the dumb twin of the parser.
var (
	grammar = regexp.MustCompile("^(?:" + pairOf + ")?(?:;(?:" + pairOf + ")?)*$")
	pairs   = regexp.MustCompile("(" + tokenOf + ")=(?:(" + tokenOf + ")|\"((?:[^\"\\\\]|\\\\.)*)\")(?:;|$)")
)

const (
	tokenOf = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
	pairOf  = tokenOf + "=(?:" + tokenOf + `|"(?:[^"\\]|\\.)*")`
)

// FuzzForwarded holds the parser of Forwarded to three oracles: what a proxy appends is read as it wrote
// it, whatever a client wrote before; what follows the grammar is read as the grammar says; and an address
// is one that another library reads there too.
func FuzzForwarded(f *testing.F) {
	for _, s := range []string{
		"for=192.0.2.7", `for="[2001:db8::7]:80";proto=https, for=10.2.2.2`, `for="a\"b,c;d=e"`, `for="`, `\"`, `"\\`, ",,;,", "for=1.2.3.4;for=5.6.7.8",
		`by="_a,b";host="x, for=6.6.6.6"`, "for = 1.2.3.4 ; proto = https", "FOR=unknown;;", "for=2001:db8::7", `host="\\"`, `for="::1%x"`,
	} {
		f.Add(s, "shop.example")
	}
	f.Fuzz(func(t *testing.T, field, host string) {
		if len(field) > 1000 || strings.ContainsFunc(field+host, func(c rune) bool { return c < ' ' && c != '\t' || c == 0x7f }) {
			return // net/http refuses it
		}
		ours := string(appendQuoted([]byte("for=10.2.2.2;proto=https;host="), host))
		list := parseForwarded([]string{field + ", " + ours})
		last := list[len(list)-1]
		if last.text != ours || last.node != "10.2.2.2" || last.proto != "https" || last.host != host {
			t.Fatalf("behind %q: got %+v, want %s", field, last, ours)
		}
		for _, e := range list[:len(list)-1] {
			if e.strict && !grammar.MatchString(e.text) {
				t.Fatalf("%q breaks the grammar", e.text)
			}
			want := map[string]string{}
			for _, p := range pairs.FindAllStringSubmatch(e.text, -1) {
				want[strings.ToLower(p[1])] = p[2] + regexp.MustCompile(`\\(.)`).ReplaceAllString(p[3], "$1")
			}
			if e.strict && (e.node != want["for"] || e.host != want["host"] || e.proto != want["proto"]) {
				t.Fatalf("%q: got %+v, want %v", e.text, e, want)
			}
			if a := nodeAddress(e.node); e.strict && a.IsValid() && !strings.Contains(e.text, `\`) {
				sameAddress(t, a, "Forwarded", e.node, `for="`+e.node+`"`)
			}
		}
	})
}

// FuzzForwardedFor holds that each element of X-Forwarded-For is read, and no address is seen that another
// library does not see there.
func FuzzForwardedFor(f *testing.F) {
	for _, s := range []string{"192.0.2.7, 10.2.2.2", "[2001:db8::7]:80,::1", ",, ,", "1.2.3.4:80, who", "::ffff:1.2.3.4%eth0", `"1.2.3.4"`, "[1.2.3.4]", "1.2.3.4:_x", "0.0.0.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, field string) {
		list := parseList([]string{field, "10.2.2.2"})
		var want []string
		for s := range strings.SplitSeq(field, ",") {
			if s = strings.Trim(s, " \t"); s != "" {
				want = append(want, s)
			}
		}
		want = append(want, "10.2.2.2")
		want = want[max(0, len(want)-maxHops):]
		if strings.Join(list, ",") != strings.Join(want, ",") {
			t.Fatalf("%q: got %q, want %q", field, list, want)
		}
		for _, node := range list {
			if a := nodeAddress(node); a.IsValid() && !strings.Contains(node, `"`) {
				sameAddress(t, a, "X-Forwarded-For", node, node)
			}
		}
	})
}

var libraries = map[string]realclientip.Strategy{
	"Forwarded":       realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy("Forwarded", nil)),
	"X-Forwarded-For": realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", nil)),
}

func sameAddress(t *testing.T, a netip.Addr, field, node, text string) {
	t.Helper()
	if a.Is4In6() || a.Zone() != "" || a.IsUnspecified() {
		t.Fatalf("%q is %v", node, a)
	}
	said, _, _ := strings.Cut(libraries[field].ClientIP(http.Header{field: {text}}, ""), "%")
	theirs, err := netip.ParseAddr(said)
	if err != nil || theirs.Unmap().WithZone("") != a {
		t.Fatalf("%q: we read %v, the library %v, %v", node, a, theirs, err)
	}
}
