package contract

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"pace/e2e/pacetest"
)

// The corpus of requests that someone might smuggle over HTTP/2. Each is a list of fields as they go over the wire,
// and what follows the header. Whatever pace does with one, the backend may only see what it means.
type smuggled struct {
	name    string
	fields  []string // of the header, in the order name, value
	data    []string // of DATA frames
	padded  bool     // these have padding
	trailer []string
	refused bool // it must be
}

// body is what the DATA frames mean.
func (s *smuggled) body() string { return strings.Join(s.data, "") }

// field returns the values of the fields of this name.
func (s *smuggled) field(name string) (values []string) {
	for pair := range slices.Chunk(s.fields, 2) {
		if pair[0] == name {
			values = append(values, pair[1])
		}
	}
	return values
}

// literal encodes a field without an index, so that HPACK changes nothing of it.
func literal(b []byte, huffman bool, text ...string) []byte {
	for pair := range slices.Chunk(text, 2) {
		b = append(b, 0x10) // never indexed
		for _, s := range pair {
			first := byte(0)
			if huffman {
				first, s = 0x80, string(hpack.AppendHuffmanString(nil, s))
			}
			if len(s) < 127 {
				b = append(b, first|byte(len(s)))
			} else {
				b = binary.AppendUvarint(append(b, first|127), uint64(len(s)-127))
			}
			b = append(b, s...)
		}
	}
	return b
}

// send sends the request as a stream.
func (s *smuggled) send(w *pacetest.H2Wire, id uint32, huffman bool) {
	w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: literal(nil, huffman, s.fields...), EndHeaders: true, EndStream: s.data == nil && s.trailer == nil})
	for i, data := range s.data {
		end := i == len(s.data)-1 && s.trailer == nil
		if s.padded {
			w.WriteDataPadded(id, end, []byte(data), make([]byte, 7))
		} else {
			w.WriteData(id, end, []byte(data))
		}
	}
	if s.trailer != nil {
		w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: literal(nil, huffman, s.trailer...), EndHeaders: true, EndStream: true})
	}
}

// isToken reports whether c may be in the name of a field over HTTP/2.
func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

func smuggledNames() (list []smuggled) {
	for i := range 256 {
		c := string([]byte{byte(i)})
		for _, name := range []string{"x" + c + "y", c, "x" + c} {
			list = append(list, smuggled{name: fmt.Sprintf("a field named %q", name), fields: more(get, name, "v"), refused: !isToken(byte(i))})
		}
	}
	for _, name := range []string{"", "x: y", "x\r\nhost: evil", "x\r\n\r\nGET /evil HTTP/1.1\r\nhost", "content-length: 5\r\nx", "transfer-encoding:chunked", "Host", "Content-Length", "TRANSFER-ENCODING", "x ", " x", "x\t"} {
		list = append(list, smuggled{name: fmt.Sprintf("a field named %q", name), fields: more(get, name, "v"), refused: true})
	}
	return list
}

func smuggledValues() (list []smuggled) {
	for i := range 256 {
		c := string([]byte{byte(i)})
		control := i < ' ' && i != '\t' || i == 0x7f
		for _, value := range []string{"a" + c + "b", c, "a" + c} {
			list = append(list, smuggled{name: fmt.Sprintf("a value %q", value), fields: more(get, "x-value", value), refused: control})
		}
	}
	for _, value := range []string{"a\r\nhost: evil", "a\r\n\r\nGET /evil HTTP/1.1\r\nhost: x\r\n\r\n", "a\nb: c", "a\rb: c", "a\r\n b", "a\x00b"} {
		for _, name := range []string{"x-value", "cookie", "user-agent", "authorization", "x-forwarded-for", "content-type", "range", "host"} {
			list = append(list, smuggled{name: fmt.Sprintf("%s: %q", name, value), fields: more(get, name, value), refused: true})
		}
	}
	return list
}

func smuggledPseudo() (list []smuggled) {
	add := func(refused bool, name string, fields []string) {
		list = append(list, smuggled{name: name, fields: fields, refused: refused})
	}
	for i := range 256 {
		c := string([]byte{byte(i)})
		space := i <= ' ' || i == 0x7f
		add(space, fmt.Sprintf(":path /a%qb", c), withPath(get, "/a"+c+"b"))
		add(space, fmt.Sprintf(":path /a?b%qc", c), withPath(get, "/a?b"+c+"c"))
		add(!isToken(byte(i)) && (i < 'A' || i > 'Z'), fmt.Sprintf(":method G%qT", c), pacetest.H2Pairs(get, ":method", "G"+c+"T"))
		add(space || i > 0x7f || strings.Contains(`"#/<>?@\^`+"`{|}", c), fmt.Sprintf(":authority a%qb", c), pacetest.H2Pairs(get, ":authority", "a"+c+"b"))
		add(c != "s", fmt.Sprintf(":scheme http%q", c), pacetest.H2Pairs(get, ":scheme", "http"+c))
	}
	for _, path := range []string{"", "x", "*", "http://evil/x", "https://evil/x", "//evil/x HTTP/1.1", "/x HTTP/1.1\r\nhost: evil\r\n\r\n", "/x\r\nx: y", "/ HTTP/1.1\r\n\r\nGET /evil HTTP/1.1\r\nhost: x", "#", "?x", "/%", "/%zz", "\\x", " /x", "/x ", "mailto:x", "evil:80"} {
		add(true, fmt.Sprintf(":path %q", path), withPath(get, path))
	}
	for _, method := range []string{"", "GET /evil HTTP/1.1\r\nhost: x\r\n\r\nGET", "GET\r\n", "GET ", " GET", "G:T", "GET\x00"} {
		add(true, fmt.Sprintf(":method %q", method), pacetest.H2Pairs(get, ":method", method))
	}
	add(true, "CONNECT", []string{":method", "CONNECT", ":authority", "x:80"})
	for i := 0; i < len(get); i += 2 {
		pair := get[i : i+2]
		add(pair[0] != ":authority", "no "+pair[0], pacetest.H2Pairs(get, pair[0], "-"))
		add(true, "twice the same "+pair[0], append(slices.Clone(pair), get...))
		add(true, "two other "+pair[0], append([]string{pair[0], pair[1] + "x"}, get...))
		add(true, pair[0]+" behind a field", more(pacetest.H2Pairs(get, pair[0], "-"), "x", "y", pair[0], pair[1]))
		add(true, pair[0]+" again behind a field", more(get, "x", "y", pair[0], pair[1]))
		add(true, pair[0]+" with a capital", more(pacetest.H2Pairs(get, pair[0], "-"), strings.ToUpper(pair[0]), pair[1]))
		add(true, pair[0]+" with a colon more", more(get, ":"+pair[0], pair[1]))
	}
	for _, name := range []string{":", ":x", ":status", ":protocol", ":host", ":version", ":cookie", ":content-length", ":method ", ":path\x00", ":authority\r\nx"} {
		add(true, fmt.Sprintf("an unknown %q", name), append([]string{name, "200"}, get...))
	}
	return list
}

func smuggledHosts() (list []smuggled) {
	valid := map[string]bool{"-": true, "": true, "x": true, "X": true, "x:80": true, "x:8080": true, "[::1]": true, "x,y": true, "x:y": true}
	withoutPort := func(host string) string { return strings.TrimSuffix(strings.ToLower(host), ":80") }
	authorities := []string{"-", "", "x", "X", "x:80", "x:8080", "[::1]", "x,y", "x y", "u@x", "u:p@x", "x/y", "x?y", "x#y", `x\y`, "x\r\nhost: y", "x\x00", "http://x", "x:y", "é"}
	hosts := [][]string{nil, {"x"}, {"X:80"}, {"y"}, {""}, {"x", "x"}, {"x", "y"}, {"x y"}, {"x/y"}, {"u@x"}, {"x,y"}, {"x\r\nx: y"}}
	for _, authority := range authorities {
		for _, given := range hosts {
			s := smuggled{name: fmt.Sprintf(":authority %q, host %q", authority, given), fields: pacetest.H2Pairs(get, ":authority", authority)}
			for _, host := range given {
				s.fields = more(s.fields, "host", host)
			}
			s.refused = len(given) > 1 && given[0] != given[1] || !valid[authority] || slices.ContainsFunc(given, func(host string) bool {
				return host != "" && authority != "-" && authority != "" && withoutPort(host) != withoutPort(authority) || strings.ContainsAny(host, " /@\r")
			})
			list = append(list, s)
		}
	}
	return list
}

func smuggledFraming() (list []smuggled) {
	for _, name := range []string{"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "te"} {
		for _, value := range []string{"close", "keep-alive", "chunked", "x-value", "content-length", "websocket", "h2c", "gzip, chunked", "identity", "xchunked", "\vchunked", "trailers, x"} {
			for _, fields := range [][]string{get, post} {
				s := smuggled{name: name + ": " + value, fields: more(fields, name, value), refused: true}
				if fields[1] == "POST" {
					s.name, s.data = s.name+", with a body", []string{"0\r\n\r\nGET /evil HTTP/1.1\r\nhost: x\r\n\r\n"}
				}
				list = append(list, s)
			}
		}
	}
	lengths := []string{"0", "00", "1", "3", "4", "5", "05", "6", "10", "64", "-1", "-5", "+5", "5.0", "5e0", "0x5", "0b101", " 5", "5 ", "5,5", "5, 5", "5;x", "5x", "x", "", "\t5", "٥", "5\x00", "5\r\n", "18446744073709551621", "9223372036854775807", "9223372036854775808"}
	bodies := [][]string{nil, {""}, {"hello"}, {"hel", "lo"}, {"", "hello", ""}, {"hello", "!"}, {"h"}, {"0\r\n\r\n"}, {"5\r\nhello\r\n0\r\n\r\n"}}
	for _, length := range lengths {
		for _, data := range bodies {
			for _, padded := range []bool{false, true} {
				if padded && data == nil {
					continue
				}
				n, err := strconv.ParseUint(length, 10, 63)
				list = append(list, smuggled{
					name: fmt.Sprintf("content-length %q, DATA %q, padded %v", length, data, padded), fields: more(post, "content-length", length),
					data: data, padded: padded, refused: err != nil || n != uint64(len(strings.Join(data, ""))),
				})
			}
		}
	}
	for _, two := range [][]string{{"5", "5"}, {"5", "6"}, {"6", "5"}, {"5", ""}, {"", "5"}, {"5", "05"}, {"0", "5"}, {"5", "x"}} {
		list = append(list, smuggled{name: fmt.Sprintf("two lengths %q", two), fields: more(post, "content-length", two[0], "content-length", two[1]),
			data: []string{"hello"}, refused: two[0] != "5" || strings.TrimLeft(two[1], "0") != "5"})
	}
	return list
}

func smuggledTrailers() (list []smuggled) {
	for _, tt := range []struct {
		refused bool
		fields  []string
	}{
		{false, []string{"x-trailer", "v"}}, {false, []string{"x-unannounced", "v"}}, {false, []string{"host", "evil"}},
		{false, []string{"content-length", "3"}}, {false, []string{"authorization", "x"}}, {false, []string{"x-forwarded-for", "6.6.6.6"}},
		{false, []string{"transfer-encoding", "chunked"}}, {false, []string{"connection", "close"}}, {false, []string{"te", "x"}},
		{true, []string{":method", "GET"}}, {true, []string{":path", "/evil"}}, {true, []string{":status", "200"}}, {true, []string{":bogus", "x"}},
		{true, []string{"X-Trailer", "v"}}, {true, []string{"x-trailer", "a\r\nb: c"}}, {true, []string{"x-trailer", "a\nb"}}, {true, []string{"x-trailer", "a\x00"}},
		{true, []string{"x trailer", "v"}}, {true, []string{"x-trailer\r\nevil", "v"}}, {true, []string{"", "v"}}, {true, []string{"x:y", "v"}},
	} {
		for _, data := range [][]string{nil, {"hello"}} {
			for _, length := range []bool{false, true} {
				s := smuggled{name: fmt.Sprintf("a trailer %q, DATA %q, a length %v", tt.fields, data, length), fields: more(post, "trailer", "x-trailer"), data: data, trailer: tt.fields, refused: tt.refused}
				if length {
					s.fields = more(s.fields, "content-length", strconv.Itoa(len(s.body())))
				}
				list = append(list, s)
			}
		}
	}
	return list
}

// witness is a backend that says what arrived.
type witness struct {
	pacetest.Table // of the upstream
	of             func(i int) (heads []string, whole int)
	meant          func(s *smuggled, i int) string // in what the backend got something else than the request, once
	forget         func()
}

func overHTTP1(t *testing.T) witness {
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.ReadBody()
		pacetest.Fine(x)
	})
	of := func(i int) []pacetest.Request { return b.With("X-Case", strconv.Itoa(i)) }
	return witness{pacetest.Upstreams(b), func(i int) (heads []string, whole int) {
		for _, r := range of(i) {
			heads = append(heads, r.Head)
			if r.BodyErr == nil {
				whole++
			}
		}
		return heads, whole
	}, func(s *smuggled, i int) string { return s.meant(of(i)) }, b.Forget}
}

func overHTTP2(t *testing.T) witness {
	b := pacetest.NewH2Backend(t, nil, pacetest.H2Fine)
	of := func(i int) []pacetest.H2Stream { return b.With("X-Case", strconv.Itoa(i)) }
	return witness{pacetest.Table{"backends": []string{b.URL()}}, func(i int) (heads []string, whole int) {
		for _, r := range of(i) {
			heads = append(heads, fmt.Sprintf("%+v", r))
			if r.Ended && !r.Reset {
				whole++
			}
		}
		return heads, whole
	}, func(s *smuggled, i int) string { return s.meantOverHTTP2(of(i)) }, b.Forget}
}

// TestH2_NothingIsSmuggled sends the corpus over TLS and in clear text, with and without Huffman's code, to a backend
// over HTTP/1.1 and one over HTTP/2. What a request does that is not refused is compared with what it means; each other
// one is counted once.
func TestH2_NothingIsSmuggled(t *testing.T) {
	t.Parallel()
	for name, to := range map[string]func(*testing.T) witness{"HTTP1": overHTTP1, "HTTP2": overHTTP2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			smuggleAll(t, to)
		})
	}
}

func smuggleAll(t *testing.T, to func(*testing.T) witness) {
	ca := pacetest.NewCA(t)
	for _, group := range []struct {
		name string
		list []smuggled
	}{
		{"names", smuggledNames()}, {"values", smuggledValues()}, {"pseudo-fields", smuggledPseudo()},
		{"hosts", smuggledHosts()}, {"framing", smuggledFraming()}, {"trailers", smuggledTrailers()},
	} {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			b := to(t)
			// A connection that takes longer than 1 s on a busy machine would be how a refused request ends.
			c := overTLS(pacetest.Config{"upstreams": b.Table.With("connect_timeout", "30s")}, ca.Issue("pace.test"))
			c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
			p := pacetest.Start(t, c)
			var served, refused int
			for i, over := range []*tls.Config{ca.Config("pace.test"), nil} {
				for _, huffman := range []bool{false, true} {
					s, r := smuggle(t, p.Listeners[i], over, b, group.list, huffman)
					served, refused = served+s, refused+r
				}
			}
			t.Logf("%d requests were served, %d refused", served, refused)
			p.WantMetric(float64(served), "pace_requests_total", "pace_outcome", "ok")
			pacetest.Eventually(t, func() error {
				m := p.Metrics()
				got := m.Sum("pace_refused_total") + m.Sum("pace_requests_total", "pace_outcome", "bad_request")
				if got != float64(refused) {
					return notYet("%v are counted as refused, want %d; all requests: %v", got, refused, m["pace_requests_total"])
				}
				return nil
			})
		})
	}
}

// smuggle sends each request of the list, and holds what the backend got to it. It returns how many were served, and
// how many refused.
func smuggle(t *testing.T, address string, over *tls.Config, b witness, list []smuggled, huffman bool) (served, refused int) {
	t.Helper()
	var w *pacetest.H2Wire
	suspects := map[int]string{} // of which nothing whole may have arrived
	id := uint32(0)
	for i := range list {
		s := list[i]
		s.fields = more(s.fields, "x-case", strconv.Itoa(i))
		if w == nil {
			w, id = pacetest.DialH2Wire(t, address, over), 1
		}
		s.send(w, id, huffman)
		got := w.Response(id)
		if got.Status == 200 && !got.Reset {
			served++
			heads, _ := b.of(i)
			switch why := b.meant(&s, i); {
			case s.refused:
				t.Errorf("over TLS %v: %s: served; the backend got %q", over != nil, s.name, heads)
			case why != "":
				t.Errorf("over TLS %v: %s: the backend got %s: %q", over != nil, s.name, why, heads)
			}
		} else {
			refused++
			if s.trailer == nil || s.field("content-length") == nil { // else the body is whole before the trailer comes
				suspects[i] = s.name
			}
		}
		id += 2
		if got.Err != nil || got.GoAway || got.Status != 200 && len(s.data)+len(s.trailer) > 0 {
			// What follows a header that net/http has refused may also end the connection, with the next request.
			w.Close()
			w = nil
		}
	}
	if w != nil {
		w.Close()
	}
	for i, name := range suspects {
		pacetest.Eventually(t, func() error {
			if heads, whole := b.of(i); whole > 0 { // it may still come
				return notYet("over TLS %v: %s: refused, and the backend got %q", over != nil, name, heads)
			}
			return nil
		})
	}
	b.forget()
	return served, refused
}

var (
	requestLine = regexp.MustCompile("^[-!#$%&'*+.^_`|~0-9A-Za-z]+ (/[^ \\x00-\\x20\\x7f]*) HTTP/1\\.1$")
	fieldLine   = regexp.MustCompile("^([-!#$%&'*+.^_`|~0-9A-Za-z]+): ?([^\\x00-\\x08\\x0a-\\x1f\\x7f]*)$")
)

// added are the fields that pace adds to a request, and those that say how it is framed.
var added = []string{"Host", "Via", "X-Proxy", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Request-Id", "Traceparent", "Tracestate", "Content-Length", "Transfer-Encoding", "Trailer", "Te", "User-Agent", "Accept-Encoding", "Connection"}

// inALine returns a path as pace writes it: with %23 for #, and the bytes beyond ASCII percent-encoded.
func inALine(path string) string {
	var b strings.Builder
	for _, c := range []byte(path) {
		if c == '#' || c >= 0x80 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// meant reports in what the backend got something else than this request once; "": in nothing.
func (s *smuggled) meant(arrived []pacetest.Request) string {
	if len(arrived) != 1 {
		return fmt.Sprintf("%d requests", len(arrived))
	}
	r := arrived[0]
	lines := strings.Split(strings.TrimSuffix(r.Head, "\r\n\r\n"), "\r\n")
	target := requestLine.FindStringSubmatch(lines[0])
	switch {
	case target == nil:
		return "a malformed request line"
	case target[1] != inALine(s.field(":path")[0]):
		return "another target"
	case r.Method != s.field(":method")[0]:
		return "another method"
	case !bytes.Equal(r.Body, []byte(s.body())) || r.BodyErr != nil:
		return "another body"
	}
	count := map[string]int{}
	for _, line := range lines[1:] {
		field := fieldLine.FindStringSubmatch(line)
		if field == nil {
			return "a malformed field"
		}
		name := http.CanonicalHeaderKey(field[1])
		if count[name]++; count[name] > 1 && name != "Via" {
			return "a field twice"
		}
		sent := s.field(strings.ToLower(name))
		if !slices.Contains(added, name) && (len(sent) == 0 || strings.Trim(sent[0], " \t") != strings.Trim(field[2], " \t")) {
			return "a field that was not sent"
		}
	}
	if count["Host"] != 1 || count["Content-Length"]+count["Transfer-Encoding"] > 1 {
		return "an ambiguous header"
	}
	named := slices.DeleteFunc(append(s.field(":authority"), s.field("host")...), func(host string) bool { return host == "" })
	if len(named) > 0 && !strings.EqualFold(r.Host, named[0]) { // if none is named, pace names the backend
		return "another host"
	}
	for name := range r.Trailer {
		if name != "X-Trailer" {
			return "a trailer that was not announced"
		}
	}
	return ""
}

// meantOverHTTP2 is meant for a backend over HTTP/2.
func (s *smuggled) meantOverHTTP2(arrived []pacetest.H2Stream) string {
	if len(arrived) != 1 {
		return fmt.Sprintf("%d requests", len(arrived))
	}
	r := arrived[0]
	switch {
	case r.Target != inALine(s.field(":path")[0]):
		return "another target"
	case r.Method != s.field(":method")[0]:
		return "another method"
	case r.Body != s.body() || !r.Ended || r.Reset:
		return "another body"
	case r.Scheme != "http":
		return "another scheme"
	}
	for _, name := range r.Names {
		sent, got := s.field(name), r.Header.Values(name)
		switch {
		case strings.ContainsFunc(name, func(c rune) bool { return c > 0x7f || !isToken(byte(c)) }):
			return "a malformed field"
		case slices.Contains(ofConnection, name):
			return "a field of the connection"
		case len(got) > 1 && name != "via":
			return "a field twice"
		case !slices.Contains(added, http.CanonicalHeaderKey(name)) && (len(sent) == 0 || strings.Trim(sent[0], " \t") != strings.Trim(got[0], " \t")):
			return "a field that was not sent"
		}
	}
	named := slices.DeleteFunc(append(s.field(":authority"), s.field("host")...), func(host string) bool { return host == "" })
	if len(named) > 0 && !strings.EqualFold(r.Authority, named[0]) { // if none is named, pace names the backend
		return "another host"
	}
	for name := range r.Trailer {
		if name != "X-Trailer" {
			return "a trailer that was not announced"
		}
	}
	return ""
}

// ofConnection are the fields that HTTP/2 must not carry (RFC 9113 §8.2.2).
var ofConnection = []string{"host", "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "http2-settings"}
