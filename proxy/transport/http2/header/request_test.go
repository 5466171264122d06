package header

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/textproto"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"pace/proxy/transport"
)

// areLines matches field lines as the proxy makes them: none is empty or folded.
var areLines = regexp.MustCompile("^([^ \t\r\n:][^\r\n]*\r\n)*$")

// FuzzRender holds what is rendered of field lines to what package textproto reads in them, without the fields of
// the connection. Whatever they are, the backend can decode it.
func FuzzRender(f *testing.F) {
	for _, lines := range []string{"A: b\r\n", "a: b\r\nA:c\r\nB:\r\n", "Connection: x\r\nx: y\r\n", "te: gzip\r\nhttp2-settings: a\r\n", "Cookie: a=b\r\nCookie: c=d\r\n"} {
		f.Add([]byte(lines))
	}
	f.Add([]byte("Authorization: " + strings.Repeat("x", 126) + "\r\nA: " + strings.Repeat("x", 127) + "\r\nB: " + strings.Repeat("x", 20000) + "\r\n"))
	f.Fuzz(func(t *testing.T, lines []byte) {
		var r Rendered
		r.Render(&transport.Request{Method: "GET", Target: "/x", Host: "h", Fields: lines}, "https")
		all, err := hpack.NewDecoder(4096, nil).DecodeFull(r.Bytes)
		if err != nil {
			t.Fatalf("%q: %v", lines, err)
		}
		got, pseudo, size := http.Header{}, "", 0
		for _, f := range all {
			size += int(f.Size())
			if f.IsPseudo() && !r.Unfit {
				pseudo += f.Name + "=" + f.Value + " "
				continue
			}
			if isOfConnection(f.Name) {
				t.Errorf("%q has %q", lines, f.Name)
			}
			if secret := strings.EqualFold(f.Name, "authorization") || strings.EqualFold(f.Name, "cookie") || strings.EqualFold(f.Name, "proxy-authorization"); f.Sensitive != secret {
				t.Errorf("%q: %s is secret: %v", lines, f.Name, f.Sensitive)
			}
			if f.Name != strings.ToLower(f.Name) {
				t.Errorf("%q: the name %q", lines, f.Name)
			}
			got[textproto.CanonicalMIMEHeaderKey(f.Name)] = append(got[textproto.CanonicalMIMEHeaderKey(f.Name)], f.Value)
		}
		if size != r.Size {
			t.Errorf("%q: the size is %d, not %d", lines, size, r.Size)
		}
		if want := ":method=GET :scheme=https :authority=h :path=/x "; !r.Unfit && pseudo != want {
			t.Errorf("%q: %s, want %s", lines, pseudo, want)
		}
		want, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(lines), "\r\n"...)))).ReadMIMEHeader()
		if err != nil || !areLines.Match(lines) || r.Unfit {
			return // malformed
		}
		maps.DeleteFunc(want, func(name string, _ []string) bool { return isOfConnection(name) })
		if !reflect.DeepEqual(map[string][]string(got), map[string][]string(want)) {
			t.Errorf("%q: got %q, want %q", lines, got, want)
		}
	})
}

// What HTTP/2 cannot carry is not sent.
func TestRender_SaysWhatIsUnfit(t *testing.T) {
	for lines, unfit := range map[string]bool{
		"A: b\r\n": false, "a-B: \tb\t c \r\n": false, "A: \xff\xe4\r\n": false, "A:\r\n": false,
		": b\r\n": true, "A b: c\r\n": true, "A: b\x00\r\n": true, "A: b\rc\r\n": true, "A: \x7f\r\n": true, "\xe4: b\r\n": true, ":path: /\r\n": true,
	} {
		var r Rendered
		r.Render(&transport.Request{Method: "GET", Target: "/", Fields: []byte(lines)}, "http")
		if r.Unfit != unfit {
			t.Errorf("%q is unfit: %v", lines, r.Unfit)
		}
	}
}
