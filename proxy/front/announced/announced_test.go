package announced

import (
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

const v2 = signature + "\x21"

// Headers of both versions, also byte by byte, and what follows them stays.
func TestRead(t *testing.T) {
	for _, tt := range []struct{ name, header, want string }{
		{"version 1, IPv4", "PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "203.0.113.7:4711"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443\r\n", "[2001:db8::7]:4711"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", "invalid AddrPort"},
		{"version 1, unknown with words", "PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n", "invalid AddrPort"},
		{"version 2, IPv4", v2 + "\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\x12\x67\x01\xbb", "203.0.113.7:4711"},
		{"version 2, IPv4, with more", v2 + "\x11\x00\x10\xcb\x00\x71\x07\x0a\x00\x00\x01\x12\x67\x01\xbb\x04\x00\x01\x00", "203.0.113.7:4711"},
		{"version 2, IPv4 in IPv6", v2 + "\x21\x00\x24" + strings.Repeat("\x00", 10) + "\xff\xff\xcb\x00\x71\x07" + strings.Repeat("\x00", 15) + "\x01\x12\x67\x01\xbb", "203.0.113.7:4711"},
		{"version 2, local", signature + "\x20\x00\x00\x00", "invalid AddrPort"},
		{"version 2, unspecified", v2 + "\x00\x00\x00", "invalid AddrPort"},
	} {
		for _, r := range []io.Reader{strings.NewReader(tt.header + "GET /"), iotest.OneByteReader(strings.NewReader(tt.header + "GET /"))} {
			got, err := Read(r)
			rest, _ := io.ReadAll(r)
			if err != nil || got.String() != tt.want || string(rest) != "GET /" {
				t.Errorf("%s: got %v, %v and then %q", tt.name, got, err, rest)
			}
		}
	}
}

// What is no header is refused, and no more than a header's length is read of it.
func TestRead_Refuses(t *testing.T) {
	for _, tt := range []struct {
		name, sent string
		want       error // nil: any
	}{
		{"a request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", ErrMissing},
		{"few bytes", "GET", ErrMissing},
		{"nothing", "", io.EOF},
		{"no blank", "PROXYTCP4 1.2.3.4 1.2.3.4 1 1\r\n", ErrMissing},
		{"lower case", "proxy TCP4 1.2.3.4 1.2.3.4 1 1\r\n", ErrMissing},
		{"a bare line feed", "PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n", nil},
		{"a bad address", "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n", nil},
		{"IPv6 as IPv4", "PROXY TCP4 2001:db8::1 1.2.3.4 1 1\r\n", nil},
		{"a port with a zero in front", "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n", nil},
		{"a port that is too large", "PROXY TCP4 1.2.3.4 1.2.3.4 65536 1\r\n", nil},
		{"no end", "PROXY TCP4 " + strings.Repeat("1", 200), ErrTooLong},
		{"cut short", "PROXY TCP4 1.2.3.4", io.EOF},
		{"a long version 2", v2 + "\x11\xff\xff" + strings.Repeat("a", 1<<16), ErrTooLong},
		{"version 3", signature + "\x31\x11\x00\x0c" + strings.Repeat("a", 12), nil},
		{"no room for the address", v2 + "\x11\x00\x04aaaa", nil},
		{"a socket in the file system", v2 + "\x31\x00\xd8" + strings.Repeat("a", 216), ErrFamily},
		{"UDP", v2 + "\x12\x00\x0c" + strings.Repeat("a", 12), ErrFamily},
	} {
		r := strings.NewReader(tt.sent)
		if got, err := Read(r); err == nil || tt.want != nil && !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, %v, want %v", tt.name, got, err, tt.want)
		}
		if read := len(tt.sent) - r.Len(); read > longestV1+longestV2 {
			t.Errorf("%s: read %d bytes", tt.name, read)
		}
	}
}

// Whatever comes, Read returns an address or an error, reads no more than the header, and a header of version 1
// that it takes names the address that it returns.
func FuzzRead(f *testing.F) {
	for _, s := range []string{"PROXY TCP4 203.0.113.7 10.0.0.1 4711 443\r\n", "PROXY TCP6 ::1 ::1 1 1\r\n", "PROXY UNKNOWN\r\n",
		v2 + "\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\x12\x67\x01\xbb", signature + "\x20\x00\x00\x00", "GET / HTTP/1.1\r\n\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := strings.NewReader(s)
		got, err := Read(r)
		sent := s[:len(s)-r.Len()]
		if err != nil {
			return
		}
		if !Begins([]byte(sent)) || len(sent) > longestV1+longestV2 {
			t.Errorf("%q was taken", sent)
		}
		if words := strings.Fields(sent); words[0] == "PROXY" && got.IsValid() {
			if want, err := netip.ParseAddr(words[2]); err != nil || want.Unmap() != got.Addr() {
				t.Errorf("%q: got %v", sent, got)
			}
		}
	})
}
