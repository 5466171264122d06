package parse

import (
	"bytes"
	"io"
	"testing"
)

// A body means the same however the network cuts it. The fuzz targets of http1 compare whole exchanges with
// net/http; here each framing is cut at every byte.
func TestBody_MeansTheSameHoweverItIsCut(t *testing.T) {
	for _, tt := range []struct {
		name, head, body string
		want             string // the body
		trailer          string // the first field's value
		rest             string // bytes that are not part of the body
		wrong            bool
	}{
		{"a body of known length", "Content-Length: 5\r\n", "helloHTTP", "hello", "", "HTTP", false},
		{"an empty body", "Content-Length: 0\r\n", "HTTP", "", "", "HTTP", false},
		{"chunks", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n2;x=y\r\n, \r\n0\r\n\r\nHTTP", "hello, ", "", "HTTP", false},
		{"chunks with a trailer", "Transfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\nSum: 1\r\nB: 2\r\n\r\n", "a", "1", "", false},
		{"a body up to the end of the connection", "", "hello", "hello", "", "", false},
		{"a chunk that is longer than its size", "Transfer-Encoding: chunked\r\n", "5\r\nhello!\r\n0\r\n\r\n", "hello", "", "!\r\n0\r\n\r\n", true},
		{"a trailer with framing", "Transfer-Encoding: chunked\r\n", "0\r\nContent-Length: 1\r\n\r\n", "", "", "Content-Length: 1\r\n\r\n", true},
	} {
		var h Head
		if err := h.Parse([]byte("HTTP/1.1 200 OK\r\n" + tt.head + "\r\n")); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		for first := range len(tt.body) + 1 {
			body, rest, trailer, err := readCut(&h, tt.body, first)
			if string(body) != tt.want || string(rest) != tt.rest || trailer != tt.trailer || (err != nil) != tt.wrong {
				t.Errorf("%s, cut at %d: got body %q, trailer %q, rest %q, %v", tt.name, first, body, trailer, rest, err)
			}
		}
	}
}

// readCut reads a body of which the first bytes come, and then the rest byte by byte.
func readCut(h *Head, in string, first int) (body, unused []byte, trailer string, err error) {
	var b Body
	b.Start(h, "GET", 100)
	unused, later := []byte(in[:first]), []byte(in[first:])
	for {
		n, ready, err := b.Advance(unused)
		if unused = unused[n:]; err != nil {
			return body, append(unused, later...), "", err
		}
		if !ready && len(later) > 0 {
			unused, later = append(bytes.Clone(unused), later[0]), later[1:]
			continue
		}
		if !ready && !b.EndOfInput() {
			return body, unused, "", io.ErrUnexpectedEOF
		}
		piece, err := b.Next(unused)
		if err == io.EOF {
			if len(b.Trailer()) > 0 {
				trailer = b.Trailer()[0].Value
			}
			return body, append(unused, later...), trailer, nil
		}
		body, unused = append(body, piece...), unused[len(piece):]
	}
}
