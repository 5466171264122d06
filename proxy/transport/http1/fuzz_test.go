package http1

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/http1/parse"
)

// seeds are responses of every framing, and the faults that proxies have had.
var seeds = []string{
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Sum\r\n\r\n5\r\nhello\r\n0\r\nSum: 1\r\n\r\nnext",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: Content-Length\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5 ;a=b\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5  \r\nhello\r\n1\t;a=b\r\n!\r\n0 ; a\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\n\nc\r\n\r\n",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n",
	"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"HTTP/1.1 100 Continue\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\nConnection: close\r\n\r\nall",
	"HTTP/1.1 103 Early\r\nConnection: close\r\n\r\nHTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\nabc",
	"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
	"HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
	"HTTP/1.1 200 OK\nA: b\n\nbody",
	"HTTP/1.1 +20 OK\r\n\r\n",
	"HTTP/1.1 099 OK\r\n\r\n",
	"HTTP/1.1  200 OK\r\n\r\n",
	"HTTP/2.0 200 OK\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"hello, I am not HTTP\n",
	"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\ndata",
}

// reference is what net/http makes of raw.
type reference struct {
	resp      *http.Response
	body      []byte
	err       error // of the body
	remaining int   // bytes after the end of the body
	head      int   // bytes before its start
}

// refer reads raw as http.Transport does, with room for a longer trailer, and takes blanks between a
// chunk's size and its extension. ok is false if it is refused.
func refer(raw []byte, method string) (ref reference, ok bool) {
	ref, ok = referTo(raw, method)
	if ok && len(ref.resp.TransferEncoding) > 0 {
		return referTo(slices.Concat(raw[:ref.head], withoutBlanks(raw[ref.head:])), method)
	}
	return ref, ok
}

// withoutBlanks returns a chunked body without the blanks before its extensions: RFC 9112 §7.1.1
// allows them, and net/http does not. From what is no chunk on, it returns the body as it is.
func withoutBlanks(body []byte) (cleaned []byte) {
	for {
		line, rest, found := bytes.Cut(body, []byte("\n"))
		size, extension, extended := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseUint(strings.TrimRight(string(size), " \t\r"), 16, 63)
		if !found || !extended || len(size) == 0 {
			extension, size = nil, line
		} else {
			size = append(bytes.TrimRight(size, " \t"), ';')
		}
		if !found || err != nil || n == 0 || n > uint64(len(rest)) {
			if found && err == nil {
				return slices.Concat(cleaned, size, extension, []byte("\n"), rest)
			}
			return append(cleaned, body...)
		}
		cleaned = append(slices.Concat(cleaned, size, extension, []byte("\n")), rest[:n]...)
		body = bytes.TrimPrefix(rest[n:], []byte("\r\n"))
		cleaned = append(cleaned, rest[n:len(rest)-len(body)]...)
	}
}

func referTo(raw []byte, method string) (ref reference, ok bool) {
	src := bytes.NewReader(raw)
	r := bufio.NewReaderSize(src, 128<<10)
	for {
		resp, err := http.ReadResponse(r, &http.Request{Method: method})
		if err != nil {
			return ref, false
		}
		if resp.StatusCode/100 == 1 && resp.StatusCode != 101 {
			continue
		}
		ref.resp, ref.head = resp, len(raw)-src.Len()-r.Buffered()
		ref.body, ref.err = io.ReadAll(resp.Body)
		ref.remaining = r.Buffered() + src.Len()
		return ref, true
	}
}

// sameFields compares all fields but those that net/http takes out or adds.
func sameFields(got []transport.Field, want http.Header) bool {
	have := http.Header{}
	for _, f := range got {
		have[f.Name] = append(have[f.Name], f.Value)
	}
	for _, h := range []http.Header{have, want} {
		for _, name := range []string{"Connection", "Transfer-Encoding", "Content-Length", "Trailer", "Cache-Control"} {
			delete(h, name)
		}
	}
	return maps.EqualFunc(have, want, slices.Equal)
}

// FuzzReadHead holds the parser of headers to net/http's: stricter is fine, laxer or different
// is not.
func FuzzReadHead(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n := parse.HeadEnd(raw, 0)
		var h parse.Head
		if n == 0 || !parse.Plausible(raw) || h.Parse(bytes.Clone(raw[:n])) != nil {
			return
		}
		ref, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw[:n])), nil)
		if err != nil {
			t.Fatalf("accepted, but net/http says %v: %q", err, raw)
		}
		length := int64(-1)
		if s := ref.Header.Get("Content-Length"); s != "" {
			length, _ = strconv.ParseInt(s, 10, 64)
		}
		if h.Status != ref.StatusCode || h.Length != length || h.Chunked != (len(ref.TransferEncoding) == 1) ||
			h.HTTP10 != (ref.ProtoMinor == 0) || !sameFields(h.Fields, ref.Header) {
			t.Fatalf("read %+v, net/http %+v: %q", h, ref, raw)
		}
		if h.Lasts() && (ref.ProtoMinor == 0 && !h.KeepAlive || ref.Close && bodyDue(&h)) {
			t.Fatalf("would keep a connection that net/http closes: %q", raw)
		}
	})
}

// bodyDue reports whether the framing lets the connection outlive the body.
func bodyDue(h *parse.Head) bool { return h.Length >= 0 || h.Chunked }

// FuzzResponse holds whole exchanges to net/http, byte for byte and however they are cut into reads.
func FuzzResponse(f *testing.F) {
	for i, s := range seeds {
		f.Add([]byte(s), i%3 == 1, uint16(i))
	}
	f.Fuzz(exchangeAndCompare)
}

// fragments are what responses and their faults are made of.
var fragments = strings.SplitAfter("HTTP/1.1 200 OK\r\n|HTTP/1.0 200 OK\r\n|HTTP/1.1 204 No\r\n|HTTP/1.1 304 Not\r\n|HTTP/1.1 103 Early\r\n|HTTP/1.1 100 Go\r\n|"+
	"HTTP/1.1 |200|20|101 |OK|\r\n|\r\n\r\n|\n|\r|\x00| |\t|:|;|,|Content-Length|content-length: 5\r\n|Content-Length: 12\r\n|Content-Length: |"+
	"Transfer-Encoding: chunked\r\n|transfer-encoding: CHUNKED\r\n|Transfer-Encoding: |chunked|identity|Connection: close\r\n|Connection: keep-alive\r\n|Connection: |Trailer: Sum\r\n|Trailer: |"+
	"Sum: 1\r\n|A: b\r\n|5\r\nhello\r\n|5|hello|c\r\nhello, world\r\n|1;x=y\r\nz\r\n|1 ;x\r\nz\r\n|1 \t\r\nz\r\n|0\r\n|0\r\n\r\n|00000000|ffffffff|-|+|0x|é", "|")

// FuzzFragments is FuzzResponse with inputs that are put together, a fragment a byte: mutated bytes
// rarely make a header that is nearly right.
func FuzzFragments(f *testing.F) {
	f.Add([]byte{0, 27, 10, 39, 44}, false, uint16(3))
	f.Add([]byte{4, 10, 0, 22, 22, 10, 41}, false, uint16(100))
	f.Add([]byte{1, 32, 22, 10, 41, 0}, true, uint16(1))
	f.Fuzz(func(t *testing.T, choice []byte, isHead bool, cut uint16) {
		var raw []byte
		for _, c := range choice {
			raw = append(raw, strings.TrimSuffix(fragments[int(c)%len(fragments)], "|")...)
		}
		exchangeAndCompare(t, raw, isHead, cut)
	})
}

func exchangeAndCompare(t *testing.T, raw []byte, isHead bool, cut uint16) {
	req := get("/")
	if isHead {
		req.Method = "HEAD"
	}
	p := NewPool(at(""), Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return &tape{raw: raw, cut: int(cut)}, nil
	}})
	defer p.Close()
	var resp Response
	if p.Do(context.Background(), req, &resp) != nil {
		return
	}
	compare(t, p, &resp, raw, req.Method)
}

func compare(t *testing.T, p *Pool, resp *Response, raw []byte, method string) {
	ref, ok := refer(raw, method)
	if !ok || resp.Status != ref.resp.StatusCode || !sameFields(resp.Fields, ref.resp.Header) {
		t.Fatalf("read %d %q, net/http %+v: %q", resp.Status, resp.Fields, ref.resp, raw)
	}
	if method != "HEAD" && resp.Status != 204 && resp.Status != 304 && resp.ContentLength != ref.resp.ContentLength {
		t.Fatalf("length %d, net/http %d: %q", resp.ContentLength, ref.resp.ContentLength, raw)
	}
	body, err := readAll(resp)
	switch {
	case !strings.HasPrefix(string(ref.body), body):
		t.Fatalf("body %q, net/http %q: %q", body, ref.body, raw)
	case err != nil:
		return
	case ref.err != nil || len(body) != len(ref.body):
		t.Fatalf("body ended well at %q, net/http %v at %q: %q", body, ref.err, ref.body, raw)
	}
	maps.DeleteFunc(ref.resp.Trailer, func(_ string, v []string) bool { return v == nil }) // only announced
	if !sameFields(resp.Trailer, ref.resp.Trailer) {
		t.Fatalf("trailer %q, net/http %q: %q", resp.Trailer, ref.resp.Trailer, raw)
	}
	// What has not been read yet is found by the look before reuse, which a tape has none of.
	c, seen := exchangeOf(resp).c.Conn.(*tape), 0
	if len(c.raw) == 0 {
		seen = ref.remaining
	}
	resp.Close()
	if p.Idle() == 1 && (seen > 0 || ref.resp.Close) {
		t.Fatalf("kept a connection with %d bytes left, close %v: %q", ref.remaining, ref.resp.Close, raw)
	}
}

// tape is a connection that takes what is written and plays raw, at most cut+1 bytes a read, and
// then its end.
type tape struct {
	raw []byte
	cut int
}

func (c *tape) Read(p []byte) (int, error) {
	if len(c.raw) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.cut+1)], c.raw)
	c.raw = c.raw[n:]
	return n, nil
}
func (c *tape) Write(p []byte) (int, error)      { return len(p), nil }
func (c *tape) Close() error                     { return nil }
func (c *tape) LocalAddr() net.Addr              { return nil }
func (c *tape) RemoteAddr() net.Addr             { return nil }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
