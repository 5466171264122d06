package proxy

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"
)

// behaviour is one thing that a reverse proxy does: what a client sees of it, or the backend.
type behaviour struct {
	backend func(c net.Conn, r *bufio.Reader)
	see     func(t *testing.T, c net.Conn, r *bufio.Reader) string // c is connected to the proxy
	want    string
	theirs  string // what httputil.ReverseProxy makes of it; "": the same
	why     string // ours is another
}

// TestAsReverseProxy runs the table of behaviours against pace and httputil.ReverseProxy.
func TestAsReverseProxy(t *testing.T) {
	for name, b := range behaviours {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // some wait for what ReverseProxy never does
			backend := rawOrigin(t, b.backend)
			target := &url.URL{Scheme: "http", Host: backend}
			peer := httptest.NewServer(&httputil.ReverseProxy{
				Rewrite:  func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded(); r.Out.Host = r.In.Host },
				ErrorLog: log.New(io.Discard, "", 0),
			})
			t.Cleanup(peer.Close)
			ours := start(t, nil, backend)
			theirs := b.theirs
			if theirs == "" {
				theirs = b.want
			}
			if (b.theirs == "") != (b.why == "") {
				t.Fatal("a difference has a reason, and nothing else has")
			}
			c, r := ours.dial(t)
			if got := b.see(t, c, r); got != b.want {
				t.Errorf("pace: got %q, want %q", got, b.want)
			}
			c, r = (&proxied{Addr: peer.Listener.Addr().String()}).dial(t)
			if got := b.see(t, c, r); got != theirs {
				t.Errorf("httputil.ReverseProxy: got %q, want %q", got, theirs)
			}
		})
	}
}

// responding is a backend that reads each request with its body, and sends f's text as the response.
func responding(f func(q *http.Request, body string) string) func(net.Conn, *bufio.Reader) {
	return func(c net.Conn, r *bufio.Reader) {
		for {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			body, err := io.ReadAll(q.Body)
			if err != nil {
				return
			}
			io.WriteString(c, f(q, string(body)))
		}
	}
}

func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// echoing is a backend whose response has those of these fields that it received.
func echoing(fields ...string) func(net.Conn, *bufio.Reader) {
	return responding(func(q *http.Request, _ string) string {
		var seen []string
		for _, name := range fields {
			if v := q.Header.Values(name); len(v) > 0 {
				seen = append(seen, name+"="+strings.Join(v, "|"))
			}
		}
		return ok(strings.Join(seen, " "))
	})
}

// asking sends the request, and returns the status and the body of the response.
func asking(request string) func(*testing.T, net.Conn, *bufio.Reader) string {
	return func(t *testing.T, c net.Conn, r *bufio.Reader) string {
		io.WriteString(c, request)
		return readResponse(r, request)
	}
}

func readResponse(r *bufio.Reader, request string) string {
	method, _, _ := strings.Cut(request, " ")
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return "no answer"
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Sprintf("%d %s broken off", resp.StatusCode, b)
	}
	return fmt.Sprintf("%d %s", resp.StatusCode, b)
}

// responseFields sends the request, and returns these fields of the response.
func responseFields(request string, names ...string) func(*testing.T, net.Conn, *bufio.Reader) string {
	return func(t *testing.T, c net.Conn, r *bufio.Reader) string {
		io.WriteString(c, request)
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return "no answer"
		}
		io.Copy(io.Discard, resp.Body)
		var seen []string
		for _, name := range names {
			if v := resp.Header.Values(name); len(v) > 0 {
				seen = append(seen, name+"="+strings.Join(v, "|"))
			}
		}
		return strings.Join(seen, " ")
	}
}

const simple = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

var hopFields = []string{"Connection", "Keep-Alive", "Te", "Trailer", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Upgrade", "X-Named", "X-Kept"}

var behaviours = map[string]behaviour{
	"hop-by-hop fields of a request stay behind": {
		echoing(hopFields...),
		asking("GET / HTTP/1.1\r\nHost: x\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: 1\r\nTe: gzip\r\nProxy-Connection: 1\r\nProxy-Authenticate: 1\r\nProxy-Authorization: 1\r\nX-Kept: 1\r\n\r\n"),
		"200 X-Kept=1", "", ""},
	"that trailers are welcome is said on": {
		echoing("Te"), asking("GET / HTTP/1.1\r\nHost: x\r\nTe: gzip, trailers\r\nConnection: TE\r\n\r\n"), "200 Te=trailers", "", ""},
	"hop-by-hop fields of an answer stay behind": {
		responding(func(*http.Request, string) string {
			return "HTTP/1.1 200 OK\r\nConnection: X-Named\r\nX-Named: 1\r\nKeep-Alive: 1\r\nProxy-Authenticate: 1\r\nUpgrade: x\r\nX-Kept: 1\r\nContent-Length: 0\r\n\r\n"
		}),
		responseFields(simple, "X-Named", "Keep-Alive", "Proxy-Authenticate", "Upgrade", "X-Kept"), "X-Kept=1", "", ""},
	"hop-by-hop fields of an interim answer stay behind": {
		responding(func(*http.Request, string) string {
			return "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: X-Named\r\nX-Named: 1\r\n\r\n" + ok("")
		}),
		responseFields(simple, "Link", "X-Named", "Connection"), "Link=</a>", "Link=</a> X-Named=1 Connection=X-Named",
		"RFC 9110 §7.6.1 makes no exception for interim answers (golang/go 81319)"},
	"an interim answer comes before the final one": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
			io.Copy(io.Discard, r) // the final one never comes
		},
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, simple)
			line, _ := r.ReadString('\n')
			return line
		}, "HTTP/1.1 103 Early Hints\r\n", "", ""},
	"HTTP/1.0 gets no interim answer": {
		responding(func(*http.Request, string) string { return "HTTP/1.1 103 Early Hints\r\n\r\n" + ok("") }),
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
			line, _ := r.ReadString('\n')
			return line
		}, "HTTP/1.0 200 OK\r\n", "HTTP/1.0 103 Early Hints\r\n", "it does not know them (RFC 9110 §15.2)"},
	"whoever expects 100 is told to go on": {
		responding(func(_ *http.Request, body string) string { return ok(body) }),
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			const request = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
			io.WriteString(c, request)
			line, _ := r.ReadString('\n')
			r.ReadString('\n')
			io.WriteString(c, "hello")
			return line + readResponse(r, request)
		}, "HTTP/1.1 100 Continue\r\n200 hello", "", ""},
	"trailers of a request": {
		responding(func(q *http.Request, body string) string { return ok(body + " " + q.Trailer.Get("X-Sum")) }),
		asking("POST / HTTP/1.1\r\nHost: x\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\n\r\n"), "200 hi 42", "200 hi ",
		"net/http fills the trailer of the request that came in; ReverseProxy sends a copy made before"},
	"trailers of an answer, announced and not": {
		responding(func(*http.Request, string) string {
			return "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Sum: 42\r\nX-Late: yes\r\n\r\n"
		}),
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, simple)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return "no answer"
			}
			b, _ := io.ReadAll(resp.Body)
			return fmt.Sprintf("%s %s %s", b, resp.Trailer.Get("X-Sum"), resp.Trailer.Get("X-Late"))
		}, "hi 42 yes", "", ""},
	"a switch of protocols, with half a close": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, switching)
			io.Copy(c, r)
			io.WriteString(c, " bye")
		},
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, askSwitch)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 {
				return "no switch"
			}
			io.WriteString(c, "hello")
			c.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(r)
			return string(b)
		}, "hello bye", "", ""},
	"nobody is asked to switch to HTTP/2": {
		echoing("Upgrade", "Connection"),
		asking("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n\r\n"),
		"200 ", "200 Upgrade=h2c Connection=Upgrade", "whoever speaks HTTP/2 through a tunnel gets around the proxy (CVE-2021-21295 and its kin)"},
	"a piece of a body of unknown length comes at once": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n")
			io.Copy(io.Discard, r)
		}, firstPiece, "piece", "", ""},
	"a piece of a body of known length comes at once": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npiece")
			io.Copy(io.Discard, r)
		}, firstPiece, "piece", "no answer", "a backend that pauses has its reasons; it costs no more, since pace flushes only when it would wait"},
	"a body that breaks off is broken off": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
		}, asking(simple), "200 half broken off", "no answer",
		"what has come goes out before the connection is broken off"},
	"chunks that break off are broken off": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
		}, asking(simple), "200 half broken off", "", ""},
	"a connection that ends before its answer is 502": {
		func(c net.Conn, r *bufio.Reader) { http.ReadRequest(r) },
		func(t *testing.T, c net.Conn, r *bufio.Reader) string { return asking(simple)(t, c, r)[:4] }, "502 ", "", ""},
	"both directions flow at once": {
		func(c net.Conn, r *bufio.Reader) {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			lines := bufio.NewScanner(q.Body)
			for lines.Scan() {
				fmt.Fprintf(c, "%x\r\n%s\n\r\n", len(lines.Text())+1, lines.Text())
			}
			io.WriteString(c, "0\r\n\r\n")
		},
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
			patience(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return "no answer"
			}
			responses := bufio.NewReader(resp.Body)
			one, _ := responses.ReadString('\n')
			io.WriteString(c, "4\r\ntwo\n\r\n0\r\n\r\n")
			two, _ := responses.ReadString('\n')
			return one + two
		}, "one\ntwo\n", "no answer", "net/http reads a request to its end before it answers, unless it is asked for full duplex"},
	"a HEAD keeps its length": {
		func(c net.Conn, r *bufio.Reader) {
			http.ReadRequest(r)
			io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
		},
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			const request = "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"
			io.WriteString(c, request)
			resp, err := http.ReadResponse(r, &http.Request{Method: "HEAD"})
			if err != nil {
				return "no answer"
			}
			return fmt.Sprint(resp.ContentLength)
		}, "12345", "", ""},
	"304 has no body": {responding(func(*http.Request, string) string { return "HTTP/1.1 304 Not Modified\r\nEtag: x\r\n\r\n" }),
		responseFields(simple, "Etag", "Content-Length"), "Etag=x", "", ""},
	"a type that the backend did not name is not guessed": {
		responding(func(*http.Request, string) string { return "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>" }),
		responseFields(simple, "Content-Type"), "", "Content-Type=text/html; charset=utf-8", "what a body is, its author knows; a guess has made text into scripts"},
	"a coding that the client did not ask for is not asked for": {
		echoing("Accept-Encoding"), asking(simple), "200 ", "200 Accept-Encoding=gzip", "the client takes no gzip, and unpacking it is the proxy's work for nothing"},
	"who does not say what it is stays unknown": {echoing("User-Agent"), asking(simple), "200 ", "", ""},
	"what a client claims to have forwarded is replaced": {
		echoing("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"),
		asking("GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: y\r\nX-Forwarded-Proto: https\r\n\r\n"),
		"200 X-Forwarded-For=127.0.0.1 X-Forwarded-Host=x X-Forwarded-Proto=http", "", ""},
	"a path is kept to the letter": {responding(func(q *http.Request, _ string) string { return ok(q.RequestURI) }),
		asking("GET //a/../%2F%41?x=%20&y HTTP/1.1\r\nHost: x\r\n\r\n"), "200 //a/../%2F%41?x=%20&y", "", ""},
	"a query is kept to the letter": {responding(func(q *http.Request, _ string) string { return ok(q.RequestURI) }),
		asking("GET /?a;b=c&d HTTP/1.1\r\nHost: x\r\n\r\n"), "200 /?a;b=c&d", "200 /?d=", "it is the backend's to read; where two readings differ, the client's bytes are the truth"},
	"the host is the one that was asked for": {responding(func(q *http.Request, _ string) string { return ok(q.Host) }), asking("GET / HTTP/1.1\r\nHost: shop.example:81\r\n\r\n"), "200 shop.example:81", "", ""},
	"a length stays a length": {responding(func(q *http.Request, body string) string { return ok(fmt.Sprint(q.ContentLength, body)) }),
		asking("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"), "200 5hello", "", ""},
	"chunks stay chunks": {responding(func(q *http.Request, body string) string { return ok(fmt.Sprint(q.TransferEncoding, body)) }),
		asking("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), "200 [chunked]hello", "", ""},
	"no body stays none": {responding(func(q *http.Request, body string) string { return ok(fmt.Sprint(q.ContentLength, q.TransferEncoding)) }),
		asking("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"), "200 0 []", "", ""},
	"when the client leaves, the backend's work is ended": {
		func(c net.Conn, r *bufio.Reader) {
			q, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\npiece\r\n")
			io.Copy(io.Discard, r)
			left <- q.Header.Get("X-Who")
		},
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX-Who: me\r\n\r\n")
			r.Peek(1)
			c.Close()
			select {
			case who := <-left:
				return who
			case <-time.After(10 * time.Second):
				return "nobody"
			}
		}, "me", "", ""},
	"several lines of a field stay several": {
		responding(func(q *http.Request, _ string) string {
			return "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nX-Got: " + strings.Join(q.Header["X-Many"], "|") + "\r\nContent-Length: 0\r\n\r\n"
		}),
		responseFields("GET / HTTP/1.1\r\nHost: x\r\nX-Many: 1\r\nX-Many: 2\r\n\r\n", "Set-Cookie", "X-Got"), "Set-Cookie=a|b X-Got=1|2", "", ""},
	"an answer that comes before the request's end reaches who still sends": {
		early,
		func(t *testing.T, c net.Conn, r *bufio.Reader) string {
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
			patience(c)
			return readResponse(r, "POST")
		}, "403 no", "no answer", "net/http reads a request to its end before it answers, unless it is asked for full duplex"},
}

// left tells the backend's side of a client that leaves.
var left = make(chan string)

// patience bounds the wait for what a proxy without full duplex never does.
func patience(c net.Conn) { c.SetReadDeadline(time.Now().Add(time.Second)) }

// firstPiece sees what comes while the backend says nothing more.
func firstPiece(t *testing.T, c net.Conn, r *bufio.Reader) string {
	io.WriteString(c, simple)
	patience(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return "no answer"
	}
	b := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, b); err != nil {
		return "nothing of the body"
	}
	return string(b)
}
