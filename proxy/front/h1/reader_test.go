package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestReader(t *testing.T) {
	const get, post = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "POST / HTTP/1.1\r\nHost: x\r\n"
	tests := []struct {
		name   string
		sent   string
		heads  int
		fault  int    // number of the request at fault
		last   int    // number of the first that ends the connection, 0: none
		passes string // if it is not what was sent
	}{
		{name: "a plain request", sent: get, heads: 1},
		{name: "two in one packet", sent: get + get, heads: 2},
		{name: "a body that looks like a header", sent: post + "Content-Length: 45\r\n\r\n" + "Content-Length: 1\r\nTransfer-Encoding: chunked" + get, heads: 2},
		{name: "a chunked body that looks like one", sent: post + "Transfer-Encoding: chunked\r\n\r\n13;a=b\r\nContent-Length: 1\r\n\r\n0\r\nX: y\r\n\r\n" + get, heads: 2},
		{name: "both lengths", sent: post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", heads: 1, fault: 1, last: 1},
		{name: "both, the other way round and in other letters", sent: post + "transfer-encoding: chunked\r\nCONTENT-LENGTH:5\r\n\r\n0\r\n\r\n", heads: 1, fault: 1, last: 1},
		{name: "both, in the second request of one packet", sent: get + post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", heads: 2, fault: 2, last: 2},
		{name: "a coding of HTTP/1.0", sent: "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", heads: 1, fault: 1, last: 1},
		{name: "a length of HTTP/1.0", sent: "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", heads: 1},
		{name: "a name that only begins alike", sent: post + "Content-Lengthy: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", heads: 1},
		{name: "a length that cannot be read", sent: post + "Content-Length: " + strings.Repeat(" ", 60) + "5\r\n\r\nhello", heads: 1, last: 1},
		{name: "an empty line before", sent: "\r\n" + get, heads: 1, passes: get},
		{name: "empty lines between", sent: get + "\r\n\n\r\n" + get, heads: 2, passes: get + get},
		{name: "too many empty lines", sent: strings.Repeat("\r\n", 9) + get, heads: 1, passes: "\r\n" + get},
		{name: "HTTP/2", sent: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\r\n\r\n\r\n", heads: 0},
	}
	for _, tt := range tests {
		for _, size := range []int{1, 7, 1 << 20} {
			h, passed := &Reader{}, []byte{}
			for piece := range slices.Chunk([]byte(tt.sent), size) {
				passed = append(passed, piece[:h.Read(piece)]...)
			}
			want := tt.passes
			if want == "" {
				want = tt.sent
			}
			if string(passed) != want {
				t.Errorf("%s, by %d: passes %q, want %q", tt.name, size, passed, want)
			}
			if h.count != tt.heads && tt.passes != "\r\n"+get {
				t.Errorf("%s, by %d: %d headers, want %d", tt.name, size, h.count, tt.heads)
			}
			for n := 1; n <= tt.heads; n++ {
				if fault, last := h.Framing(n); fault != (n == tt.fault) || last != (tt.last != 0 && n >= tt.last) {
					t.Errorf("%s, by %d: request %d: fault %t, last %t", tt.name, size, n, fault, last)
				}
			}
		}
	}
}

// FuzzReader holds what a Reader finds to net/http's own reading of the same bytes, as far as that goes: it
// knows of as many headers, and flags one that has both lengths.
func FuzzReader(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"), 3)
	f.Add([]byte("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), 1)
	f.Add([]byte("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 5)
	f.Fuzz(func(t *testing.T, raw []byte, size int) {
		if size < 1 || len(raw) > 1<<16 {
			return
		}
		h, passed := &Reader{}, []byte{}
		for piece := range slices.Chunk(slices.Clone(raw), size) {
			passed = append(passed, piece[:h.Read(piece)]...)
		}
		r := bufio.NewReader(bytes.NewReader(passed))
		for n := 1; ; n++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			fault, last := h.Framing(n)
			if fault || last || req.Header.Get("Upgrade") != "" || req.Method == "PRI" {
				return // nobody cares what follows
			}
			if n > h.count {
				t.Fatalf("net/http reads request %d, the reader knows of %d: %q", n, h.count, raw)
			}
			if !req.ProtoAtLeast(1, 0) || req.ProtoMajor != 1 {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
		}
	})
}

// A request is early or late by the moment in which its header was whole, whenever its handler runs.
func TestReader_Early(t *testing.T) {
	late := false
	r := &Reader{Late: func() bool { return late }}
	const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	r.Read([]byte(get + get + "GET / HTTP/1.1\r\n"))
	late = true
	r.Read([]byte("Host: x\r\n\r\n" + get))
	for n, want := range []bool{true, true, false, false} {
		if r.Early(n+1) != want {
			t.Errorf("request %d: early is %t, want %t", n+1, !want, want)
		}
	}
}

// A request is whole when its body has come to its end, whatever follows.
func TestReader_Whole(t *testing.T) {
	r := &Reader{}
	for _, tt := range []struct {
		comes       string
		nth         int
		whole, next bool
	}{
		{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel", 1, false, false},
		{"lo", 1, true, false},
		{"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n", 2, false, false},
		{"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 2, true, true},
	} {
		r.Read([]byte(tt.comes))
		if whole, next := r.Whole(tt.nth), r.Whole(tt.nth+1); whole != tt.whole || next != tt.next {
			t.Errorf("after %q request %d is whole: %v, the next one: %v", tt.comes, tt.nth, whole, next)
		}
	}
}
