package message

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestIsGRPC(t *testing.T) {
	for kind, want := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true, "application/grpc+json": true, "Application/gRPC": true,
		"application/grpc;charset=utf-8": true, "application/grpc+": true,
		"application/grpc-web": false, "application/grpc-web+proto": false, "application/grpc-web-text": false,
		"application/grpcx": false, "application/grp": false, "": false, "text/plain": false,
	} {
		if got := IsGRPC(http.Header{"Content-Type": {kind}}); got != want {
			t.Errorf("%q: got %t, want %t", kind, got, want)
		}
	}
	if IsGRPC(http.Header{}) || IsGRPC(http.Header{"Content-Type": {"application/grpc", "text/plain"}}) {
		t.Error("a request without a type, or with two, is taken for a call")
	}
}

func TestGRPCTimeout(t *testing.T) {
	tests := []struct {
		name  string
		value string
		want  time.Duration
		ok    bool
	}{
		{"an hour", "1H", time.Hour, true},
		{"minutes", "90M", 90 * time.Minute, true},
		{"seconds", "10S", 10 * time.Second, true},
		{"milliseconds", "250m", 250 * time.Millisecond, true},
		{"microseconds", "99999999u", 99999999 * time.Microsecond, true},
		{"nanoseconds, with leading zeros", "00000001n", 1, true},
		{"nothing left", "0S", 0, true},
		{"nine digits are too many", "000000001n", 0, false},
		{"no digit", "S", 0, false},
		{"no unit", "10", 0, false},
		{"an unknown unit", "10s", 0, false},
		{"a sign", "+1S", 0, false},
		{"a fraction", "1.5S", 0, false},
		{"a blank", "1 S", 0, false},
		{"longer than a lifetime is no limit", "99999999H", 0, false},
		{"empty", "", 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := GRPCTimeout(http.Header{"Grpc-Timeout": {tt.value}}); got != tt.want || ok != tt.ok {
				t.Errorf("%q: got %v, %t, want %v, %t", tt.value, got, ok, tt.want, tt.ok)
			}
		})
	}
	if _, ok := GRPCTimeout(http.Header{"Grpc-Timeout": {"1S", "2S"}}); ok {
		t.Error("of two timeouts one is taken")
	}
}

// FuzzGRPCTimeout holds the reader to the grammar of gRPC, written as a regular expression and arithmetic in floats.
func FuzzGRPCTimeout(f *testing.F) {
	for _, v := range []string{"1H", "99999999n", "0S", "1", "S", "1x", "-1S", "100000000S", "99999999H", "1S "} {
		f.Add(v)
	}
	grammar := regexp.MustCompile(`\A([0-9]{1,8})([HMSmun])\z`)
	seconds := map[string]float64{"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := GRPCTimeout(http.Header{"Grpc-Timeout": {value}})
		m := grammar.FindStringSubmatch(value)
		if m == nil {
			if ok {
				t.Fatalf("%q is read as %v", value, got)
			}
			return
		}
		n, _ := strconv.Atoi(m[1])
		want := float64(n) * seconds[m[2]]
		switch {
		case !ok && want < 99*365*24*3600:
			t.Fatalf("%q is not read", value)
		case ok && (got < 0 || fmt.Sprintf("%.6g", got.Seconds()) != fmt.Sprintf("%.6g", want)):
			t.Fatalf("%q is read as %v", value, got)
		}
	})
}

// FuzzGRPCStatus holds the reader to strconv, which also takes signs and any length.
func FuzzGRPCStatus(f *testing.F) {
	for _, v := range []string{"0", "14", "014", "17", "-1", "+1", "", " 1", "1e3", "999999999", "4294967296", "１４", "99999999999999999999"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got, ok := GRPCStatus(value)
		n, err := strconv.ParseUint(value, 10, 31)
		want := err == nil && len(value) <= 9
		if ok != want || ok && (got < 0 || uint64(got) != n) {
			t.Fatalf("%q: got %d, %t, strconv says %d, %v", value, got, ok, n, err)
		}
	})
}

// FuzzGRPCMessage holds that what pace encodes is printable ASCII and is decoded to the same text, and that no value
// from the wire makes the decoder read or return more than it may.
func FuzzGRPCMessage(f *testing.F) {
	for _, v := range []string{"", "fine", "100 %", "%41", "%4", "%zz", "%25%", "tab\tnew\nline\r", "grüß dich", "\x00\xff", strings.Repeat("%41", 100)} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		encoded := GRPCMessage(text)
		for _, c := range []byte(encoded) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q is encoded as %q", text, encoded)
			}
		}
		if got := GRPCMessageText(encoded); len(encoded) <= MaxGRPCMessage && got != text {
			t.Fatalf("%q is encoded as %q and decoded to %q", text, encoded, got)
		}
		if got := GRPCMessageText(text); len(got) > MaxGRPCMessage || len(got) > len(text) {
			t.Fatalf("%q is decoded to %d bytes", text, len(got))
		}
	})
}

func TestGRPCStatusOf_IsTheMappingOfGRPC(t *testing.T) {
	want := map[int]int{400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
	for status := 100; status < 1000; status++ {
		code, named := want[status]
		if !named {
			code = 2
		}
		if got := GRPCStatusOf(status); got != code {
			t.Errorf("%d: got %d, want %d", status, got, code)
		}
	}
}
