package http2

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/textproto"
	"reflect"
	"regexp"
	"testing"

	"pace/proxy/transport"
)

// areLines matches field lines as the proxy makes them: none is empty or folded.
var areLines = regexp.MustCompile("^([^ \t\r\n:][^\r\n]*\r\n)*$")

// FuzzSetFields holds the conversion of field lines to what package textproto reads in them, without the fields of the
// connection.
func FuzzSetFields(f *testing.F) {
	for _, lines := range []string{"A: b\r\n", "a: b\r\nA:c\r\nB:\r\n", "Connection: x\r\nx: y\r\n", "te: gzip\r\nhttp2-settings: a\r\n", "Cookie: a=b\r\nCookie: c=d\r\n"} {
		f.Add([]byte(lines))
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		got := http.Header{}
		setFields(got, &transport.Request{Fields: lines})
		for name := range got {
			if isOfConnection(name) {
				t.Errorf("%q has %q", lines, name)
			}
		}
		want, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(append(bytes.Clone(lines), "\r\n"...)))).ReadMIMEHeader()
		if err != nil || !areLines.Match(lines) {
			return // malformed
		}
		maps.DeleteFunc(want, func(name string, _ []string) bool { return isOfConnection(name) })
		if _, sent := want["User-Agent"]; !sent {
			want["User-Agent"] = nil
		}
		if !reflect.DeepEqual(map[string][]string(got), map[string][]string(want)) {
			t.Errorf("%q: got %q, want %q", lines, got, want)
		}
	})
}
