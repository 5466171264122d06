package http1

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"

	"pace/proxy/transport"
)

func TestDo_RefusesWhatIsNotClear(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
	for name, raw := range map[string]string{
		"two lengths":                       ok + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"two lengths in one field":          ok + "Content-Length: 5, 5\r\n\r\nhello",
		"one length in two spellings":       ok + "Content-Length: 5\r\nContent-Length: 05\r\n\r\nhello",
		"a length with a sign":              ok + "Content-Length: +5\r\n\r\nhello",
		"a negative length":                 ok + "Content-Length: -5\r\n\r\nhello",
		"an empty length":                   ok + "Content-Length:\r\n\r\nhello",
		"a length that overflows":           ok + "Content-Length: 18446744073709551621\r\n\r\nhello",
		"a length in hexadecimal":           ok + "Content-Length: 0x5\r\n\r\nhello",
		"a length and chunks":               ok + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks and a length":               ok + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"chunks twice":                      ok + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"chunks within a coding":            ok + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		"an unknown coding":                 ok + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"identity as coding":                ok + "Transfer-Encoding: identity\r\n\r\nhello",
		"chunks in HTTP/1.0":                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"framing announced as trailer":      chunked + "Trailer: Sum, content-length\r\n\r\n0\r\n\r\n",
		"a folded line":                     ok + "A: b\r\n c\r\nContent-Length: 0\r\n\r\n",
		"a first line that is folded":       ok + " A: b\r\nContent-Length: 0\r\n\r\n",
		"a blank before the colon":          ok + "Content-Length : 5\r\n\r\nhello",
		"a blank within a name":             ok + "Content Length: 5\r\n\r\nhello",
		"a line without colon":              ok + "Content-Length\r\n\r\n",
		"a line without name":               ok + ": 5\r\n\r\n",
		"a name that is not ASCII":          ok + "Contént: 5\r\n\r\n",
		"a bare CR in a value":              ok + "A: b\rContent-Length: 5\r\n\r\n",
		"a bare CR before the line's end":   ok + "A: b\r\r\nContent-Length: 0\r\n\r\n",
		"a NUL in a value":                  ok + "A: b\x00c\r\nContent-Length: 0\r\n\r\n",
		"a NUL in the reason phrase":        "HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
		"a bare CR in the reason phrase":    "HTTP/1.1 200 OK\rA: b\r\nContent-Length: 0\r\n\r\n",
		"a status of two digits":            "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n",
		"a status of four digits":           "HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
		"a status with a sign":              "HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n",
		"a status below 100":                "HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n",
		"no status":                         "HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
		"two blanks before the status":      "HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n",
		"a version in lower case":           "http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
		"an unknown version":                "HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
		"a version of HTTP/2":               "HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
		"the preface of HTTP/2":             "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"a SETTINGS frame of HTTP/2":        "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
		"a body without header (HTTP/0.9)":  "<html>hello</html>\n",
		"a blank line first":                "\r\n" + ok + "Content-Length: 0\r\n\r\n",
		"a switch that nobody asked for":    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"a switch to h2c (golang/go 80416)": "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
		"an interim response with a body":   "HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nhello" + ok + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) { respond(raw)(c, r); r.ReadByte() })
			var resp Response
			e := wantKind(t, p.Do(t.Context(), get("/"), &resp), transport.Invalid)
			if !e.Responded || e.BytesSent == 0 || p.Idle() != 0 {
				t.Errorf("%+v, %d idle", e, p.Idle())
			}
		})
	}
}

// What is over a limit is HTTP, and has a kind of its own.
func TestDo_RefusesWhatIsTooLarge(t *testing.T) {
	const ok, hints = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 103 Early Hints\r\n"
	for _, tt := range []struct{ name, raw string }{
		{"a header bomb of one field", ok + "A: " + strings.Repeat("b", 70_000)},
		{"a whole header, one byte over the limit", ok + "A: " + strings.Repeat("b", 64<<10-len(ok)-len("A: \r\n\r\n")+1) + "\r\n\r\n"},
		{"a header bomb of many fields", ok + strings.Repeat("A:\r\n", 2000) + "\r\n"},
		{"a header bomb without any line end", "HTTP/1.1 200 " + strings.Repeat("b", 70_000)},
		{"an interim response over the limit", hints + "A: " + strings.Repeat("b", 64<<10) + "\r\n\r\n" + ok + "\r\n"},
		{"a flood of small interim responses", strings.Repeat(hints+"\r\n", 17*64<<10/len(hints)) + ok + "\r\n"},
		{"a flood of large interim responses", strings.Repeat(hints+"A: "+strings.Repeat("b", 60_000)+"\r\n\r\n", 18) + ok + "\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) { respond(tt.raw)(c, r); r.ReadByte() })
			var resp Response
			e := wantKind(t, p.Do(t.Context(), get("/"), &resp), transport.HeaderTooLarge)
			if !e.Responded || e.BytesSent == 0 || p.Idle() != 0 {
				t.Errorf("%+v, %d idle", e, p.Idle())
			}
		})
	}
}

// A header may be as large as the limit, whatever interim responses came before it.
func TestDo_TakesWhatIsNotTooLarge(t *testing.T) {
	const ok, rest = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n", "A: \r\n\r\n"
	largest := ok + "A: " + strings.Repeat("b", 8<<10-len(ok)-len(rest)) + "\r\n\r\n"
	hints := "HTTP/1.1 103 Early Hints\r\nA: " + strings.Repeat("b", 8<<10-len("HTTP/1.1 103 Early Hints\r\n")-len(rest)) + "\r\n\r\n"
	p := script(t, Options{MaxHeaderBytes: 8 << 10}, respond(strings.Repeat(hints, 16)+largest))
	n, req := 0, get("/")
	req.On1xx = func(int, []transport.Field) { n++ }
	if resp, _ := fetch(t, p, req); resp.Status != 200 || n != 16 {
		t.Errorf("status %d after %d interim responses, want 200 after 16", resp.Status, n)
	}
}

func TestDo_AsksForUpgradesOnly(t *testing.T) {
	const switched = "HTTP/1.1 101 Switching Protocols\r\n"
	for name, tt := range map[string]struct {
		asked, raw string
		ok         bool
	}{
		"the protocol asked for":       {"websocket", switched + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", true},
		"one of those asked for":       {"a, websocket", switched + "Connection: x, upgrade\r\nUpgrade: WebSocket\r\n\r\n", true},
		"another protocol":             {"websocket", switched + "Connection: Upgrade\r\nUpgrade: ssh\r\n\r\n", false},
		"no protocol":                  {"websocket", switched + "Connection: Upgrade\r\n\r\n", false},
		"no Connection field":          {"websocket", switched + "Upgrade: websocket\r\n\r\n", true},
		"Connection says otherwise":    {"websocket", switched + "Connection: keep-alive\r\nUpgrade: websocket\r\n\r\n", true},
		"several of those asked for":   {"a, b, c", switched + "Upgrade: c\r\nUpgrade: A\r\n\r\n", true},
		"one of several not asked for": {"a, b", switched + "Upgrade: a, ssh\r\n\r\n", false},
		"a list of nothing":            {"a,, b", switched + "Upgrade: ,\r\n\r\n", false},
		"only Connection's word":       {"upgrade-insecure", switched + "Connection: Upgrade\r\n\r\n", false},
		"h2c, although it was wanted":  {"h2c", switched + "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", false},
		"h2c among others that are ok": {"websocket, h2c", switched + "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, respond(tt.raw))
			req := get("/")
			req.Upgrade = tt.asked
			var resp Response
			if err := p.Do(t.Context(), req, &resp); (err == nil) != tt.ok {
				t.Errorf("%v", err)
			} else if err != nil {
				wantKind(t, err, transport.Invalid)
			}
			resp.Close()
		})
	}
}

func TestDo_NamesAreCanonicalAndValuesTrimmed(t *testing.T) {
	p := script(t, Options{}, respond("HTTP/1.1 200 OK\r\ncontent-TYPE:  text/plain \t\r\nwww-authenticate:a\r\nETag: \"x\"\r\n1a-!b: \r\nset-cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"))
	resp, _ := fetch(t, p, get("/"))
	want := []transport.Field{{Name: "Content-Type", Value: "text/plain"}, {Name: "Www-Authenticate", Value: "a"}, {Name: "Etag", Value: `"x"`}, {Name: "1a-!b", Value: ""}, {Name: "Set-Cookie", Value: "a"}, {Name: "Set-Cookie", Value: "b"}, {Name: "Content-Length", Value: "0"}}
	if !slices.Equal(resp.Fields, want) {
		t.Errorf("got %q, want %q", resp.Fields, want)
	}
}

// Interim responses reach the caller as they are, and say nothing about the final one
// (golang/go 81319: their hop-by-hop fields went to the client).
func TestDo_TellsInterimResponses(t *testing.T) {
	p := script(t, Options{}, respond("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\nConnection: X\r\nX: y\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"+okHello))
	var got []string
	req := get("/")
	req.On1xx = func(status int, fields []transport.Field) {
		got = append(got, string(rune('0'+status%10))+field(fields, "Link")+field(fields, "X"))
	}
	resp, body := fetch(t, p, req)
	if !slices.Equal(got, []string{"0", "3ay", "2"}) || resp.Status != 200 || body != "hello" || len(resp.Fields) != 1 {
		t.Errorf("interim %q, then %d %q %q", got, resp.Status, resp.Fields, body)
	}
}

func TestDo_RefusesToWriteABrokenHead(t *testing.T) {
	for name, change := range map[string]func(*transport.Request){
		"line end in target":   func(r *transport.Request) { r.Target = "/ HTTP/1.1\r\nX: y\r\n" },
		"blank in target":      func(r *transport.Request) { r.Target = "/a b" },
		"no target":            func(r *transport.Request) { r.Target = "" },
		"blank in method":      func(r *transport.Request) { r.Method = "GET /x" },
		"no method":            func(r *transport.Request) { r.Method = "" },
		"line end in host":     func(r *transport.Request) { r.Host = "a\nb" },
		"line end in protocol": func(r *transport.Request) { r.Upgrade = "a\r\nb: c" },
		"line end in trailer":  func(r *transport.Request) { r.AnnouncedTrailer = "a\r\nb: c" },
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) { t.Error("connected") })
			req := get("/")
			change(req)
			var resp Response
			wantKind(t, p.Do(t.Context(), req, &resp), transport.RequestBody)
		})
	}
}

func TestNext_TruncatedIsNeverTheEnd(t *testing.T) {
	const ok, chunked = "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, tt := range map[string]struct{ raw, body string }{
		"a body that is too short":                      {ok + "Content-Length: 6\r\n\r\nhello", "hello"},
		"no body at all":                                {ok + "Content-Length: 6\r\n\r\n", ""},
		"the end within a chunk":                        {chunked + "6\r\nhello", "hello"},
		"the end after a chunk":                         {chunked + "5\r\nhello\r\n", "hello"},
		"the end before the trailer is over":            {chunked + "5\r\nhello\r\n0\r\n", "hello"},
		"the end within the trailer":                    {chunked + "5\r\nhello\r\n0\r\nA: b\r\n", "hello"},
		"an error text in a half-sent body (13568)":     {chunked + "5\r\nhello\r\nInternal Server Error", "hello"},
		"a chunk that runs into the next (11507)":       {chunked + "4\r\nhello\r\n0\r\n\r\n", "hell"},
		"a chunk that is shorter than its size (11507)": {chunked + "7\r\nhello\r\n0\r\n\r\n", "hello\r\n"},
		"a size with a sign":                            {chunked + "+5\r\nhello\r\n0\r\n\r\n", ""},
		"a size with a blank before":                    {chunked + " 5\r\nhello\r\n0\r\n\r\n", ""},
		"a size with a blank within":                    {chunked + "5 5\r\nhello\r\n0\r\n\r\n", ""},
		"a size with a CR after":                        {chunked + "5\r\r\nhello\r\n0\r\n\r\n", ""},
		"a size with a vertical tab after":              {chunked + "5\v\r\nhello\r\n0\r\n\r\n", ""},
		"a size line of blanks":                         {chunked + "  \r\nhello\r\n0\r\n\r\n", ""},
		"an extension without size":                     {chunked + " ;a=b\r\nhello\r\n0\r\n\r\n", ""},
		"more blanks than data":                         {chunked + strings.Repeat("1"+strings.Repeat(" ", 900)+"\r\nx\r\n", 20), "xxxxxxxxx"},
		"blanks without end":                            {chunked + "5" + strings.Repeat(" ", 2000), ""},
		"a size with a prefix":                          {chunked + "0x5\r\nhello\r\n0\r\n\r\n", ""},
		"a size that overflows":                         {chunked + "10000000000000005\r\nhello\r\n0\r\n\r\n", ""},
		"a size that is negative as an int64":           {chunked + "fffffffffffffffb\r\nhello\r\n0\r\n\r\n", ""},
		"no size":                                       {chunked + "\r\nhello\r\n0\r\n\r\n", ""},
		"a size line that ends in LF":                   {chunked + "5\nhello\r\n0\r\n\r\n", ""},
		"data that runs on for two bytes":               {chunked + "5\r\nhello??0\r\n\r\n", "hello"},
		"data that ends in LF":                          {chunked + "5\r\nhello\n0\r\n\r\n", "hello"},
		"a CR in an extension":                          {chunked + "5;a\rb\r\nhello\r\n0\r\n\r\n", ""},
		"an extension without end":                      {chunked + "5;" + strings.Repeat("a", 2000), ""},
		"more extensions than data":                     {chunked + strings.Repeat("1;"+strings.Repeat("a", 900)+"\r\nx\r\n", 20), "xxxxxxxxx"},
		"a bare LF in the trailer":                      {chunked + "0\r\nA: b\nC: d\r\n\r\n", ""},
		"a length in the trailer":                       {chunked + "0\r\nContent-Length: 5\r\n\r\n", ""},
		"a folded line in the trailer":                  {chunked + "0\r\nA: b\r\n c\r\n\r\n", ""},
		"a trailer bomb":                                {chunked + "0\r\nA: " + strings.Repeat("b", 100_000) + "\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := script(t, Options{}, respond(tt.raw))
			var resp Response
			if err := p.Do(t.Context(), get("/"), &resp); err != nil {
				t.Fatal(err)
			}
			body, err := readAll(&resp)
			e := wantKind(t, err, transport.Truncated)
			if _, again := resp.Next(); again != err || body != tt.body || e.Phase != transport.Receive {
				t.Errorf("body %q, %+v, then %v; want body %q", body, e, again, tt.body)
			}
			resp.Close()
			if p.Idle() != 0 {
				t.Error("kept the connection")
			}
		})
	}
}

func TestNext_BufferedTellsWhenToFlush(t *testing.T) {
	more := make(chan string)
	p := script(t, Options{}, func(c net.Conn, r *bufio.Reader) {
		respond("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1\r\n")(c, r)
		for s := range more {
			io.WriteString(c, s)
		}
	})
	var resp Response
	if err := p.Do(t.Context(), get("/"), &resp); err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	for i, tt := range []struct {
		send, want string
		buffered   bool // after it
	}{{"", "a", true}, {"", "b", false}, {"c\r\n0\r\n\r", "c", false}, {"\n", "", true}} {
		if tt.send != "" {
			more <- tt.send
		}
		got, err := resp.Next()
		if string(got) != tt.want || (err == io.EOF) != (tt.want == "") || resp.Buffered() != tt.buffered {
			t.Fatalf("step %d: %q, %v, buffered %v; want %+v", i, got, err, resp.Buffered(), tt)
		}
	}
	close(more)
}
