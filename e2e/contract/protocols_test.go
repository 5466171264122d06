package contract

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

func TestBodies_PassWholeBothWays(t *testing.T) {
	t.Parallel()
	const big = 3 << 20
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		behaviours := map[string]pacetest.Behaviour{
			"/length":  pacetest.With(200, "", strings.Repeat("l", big)),
			"/close":   pacetest.Raw("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + strings.Repeat("c", big)),
			"/chunked": chunkedWith(strings.Repeat("k", 64<<10), big/(64<<10), ""),
			"/empty":   pacetest.Status(200, ""), "/204": pacetest.Status(204, ""), "/304": pacetest.Status(304, ""),
		}
		b := pacetest.NewBackend(t, pacetest.ByPath(withDefault(behaviours)))
		p := pacetest.Start(t, upstreams(b))
		c := mode.Client(t)
		sent := strings.Repeat("up", big/2)
		for path, want := range map[string]struct {
			status int
			body   string
		}{
			"/length": {200, strings.Repeat("l", big)}, "/close": {200, strings.Repeat("c", big)}, "/chunked": {200, strings.Repeat("k", big)},
			"/empty": {200, ""}, "/204": {204, ""}, "/304": {304, ""},
		} {
			for _, length := range []int64{big, -1} { // with a length, and without
				req := p.Request("POST", path, sent)
				req.ContentLength = length
				got := pacetest.Do(c, req)
				wantStatus(t, got, want.status)
				if got.Body != want.body {
					t.Errorf("%s: %d bytes came, want %d", path, len(got.Body), len(want.body))
				}
			}
			for _, r := range b.Got(path) {
				if path != "/close" && (string(r.Body) != sent || r.BodyErr != nil) {
					t.Errorf("%s: the backend got %d bytes (%v), want %d", path, len(r.Body), r.BodyErr, len(sent))
				}
			}
		}
	})
}

func withDefault(behaviours map[string]pacetest.Behaviour) map[string]pacetest.Behaviour {
	behaviours["/"] = pacetest.Fine
	return behaviours
}

// chunkedWith answers with n chunks and these trailer lines.
func chunkedWith(chunk string, n int, trailer string) pacetest.Behaviour {
	return func(x *pacetest.Exchange) {
		x.ReadBody()
		var names strings.Builder
		for line := range strings.Lines(trailer) {
			names.WriteString("Trailer: " + line[:strings.IndexByte(line, ':')] + "\r\n")
		}
		x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + names.String() + "\r\n")
		for range n {
			x.Write("%x\r\n%s\r\n", len(chunk), chunk)
		}
		x.Write("0\r\n" + trailer + "\r\n")
	}
}

// TestBodies_StreamBothWaysAtOnce: each piece of the response is sent only after the next
// piece of the request has come, and the other way round.
func TestBodies_StreamBothWaysAtOnce(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		const rounds = 5
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range rounds {
				x.ReadBodyN(4)
				x.Write("4\r\npong\r\n")
			}
			x.ReadBody()
			x.Write("0\r\n\r\n")
		})
		p := pacetest.Start(t, upstreams(b))
		in, out := pacetest.Pipe()
		req := p.Request("POST", "/x", "")
		req.Body, req.ContentLength = in, -1
		go io.WriteString(out, "ping")
		resp, err := mode.Client(t).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for round := range rounds {
			pong := make([]byte, 4)
			if _, err := io.ReadFull(resp.Body, pong); err != nil || string(pong) != "pong" {
				t.Fatalf("round %d: %q, %v", round, pong, err)
			}
			if round+1 < rounds {
				io.WriteString(out, "ping")
			}
		}
		out.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
			t.Errorf("after the last round came %q, %v", rest, err)
		}
		got := b.WantGot(1, "/x")[0]
		if string(got.Body) != strings.Repeat("ping", rounds) {
			t.Errorf("the backend got %q", got.Body)
		}
		if line := p.WantAccess("/x"); line.Int("bytes_in") != 4*rounds || line.Int("bytes_out") != 4*rounds {
			t.Errorf("bytes_in %v, bytes_out %v", line["bytes_in"], line["bytes_out"])
		}
	})
}

// TestBodies_AreFlushedAsTheyCome: the header, and each piece, is with the client while the
// backend waits with the next.
func TestBodies_AreFlushedAsTheyCome(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		for name, head := range map[string]string{"length": "Content-Length: 8\r\n", "chunked": "Transfer-Encoding: chunked\r\n", "close": "Connection: close\r\n"} {
			next := make(chan struct{})
			b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
				x.ReadBody()
				x.Write("HTTP/1.1 200 OK\r\n" + head + "\r\n")
				for _, piece := range []string{"head", "tail"} {
					<-next
					if name == "chunked" {
						piece = "4\r\n" + piece + "\r\n"
					}
					x.Write("%s", piece)
				}
				if name == "chunked" {
					x.Write("0\r\n\r\n")
				}
				if name == "close" {
					x.Close()
				}
			})
			p := pacetest.Start(t, upstreams(b))
			resp, err := mode.Client(t).Do(p.Request("GET", "/x", "")) // returns with the header
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for _, want := range []string{"head", "tail"} {
				next <- struct{}{}
				piece := make([]byte, 4)
				if _, err := io.ReadFull(resp.Body, piece); err != nil || string(piece) != want {
					t.Fatalf("%s: %q, %v; want %q while the backend waits", name, piece, err, want)
				}
			}
			if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) > 0 {
				t.Errorf("%s: after the last piece came %q, %v", name, rest, err)
			}
			resp.Body.Close()
		}
	})
}

func TestBodies_EarlyAnswerReachesTheClient(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBodyN(4)
			x.Write("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
			x.AwaitClose()
		})
		p := pacetest.Start(t, upstreams(b))
		in, out := pacetest.Pipe()
		defer out.Close()
		req := p.Request("POST", "/x", "")
		req.Body, req.ContentLength = in, -1
		go io.WriteString(out, "ping") // and never more
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 403)
		if got.Body != "no" {
			t.Errorf("body %q", got.Body)
		}
		out.Close()
		if line := p.WantAccess("/x"); line.Text("outcome") != "client_error" || line.Int("status") != 403 {
			t.Errorf("log says %s, %s", line.Text("outcome"), line.Text("status"))
		}
	})
}

// TestBodies_BrokenOffIsNeverEndedAsWhole looks at the bytes on the wire.
func TestBodies_BrokenOffIsNeverEndedAsWhole(t *testing.T) {
	t.Parallel()
	for name, behaviour := range map[string]pacetest.Behaviour{"length": pacetest.CutLength, "chunked": pacetest.CutChunked} {
		b := pacetest.NewBackend(t, behaviour)
		p := pacetest.Start(t, upstreams(b))
		w := p.Wire()
		w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		resp := w.Head("GET")
		body, err := io.ReadAll(resp.Body)
		if err == nil {
			t.Errorf("%s: the body of %d bytes ended as if whole", name, len(body))
		}
		if rest, _ := w.Rest(); strings.Contains(rest, "\r\n0\r\n") || strings.Contains(rest, "502") {
			t.Errorf("%s: after the body came %q", name, rest)
		}
		if got := pacetest.Do(pacetest.H2C.Client(t), p.Request("GET", "/h2", "")); got.Err == nil || got.Status != 200 {
			t.Errorf("%s over h2c: status %d, %d bytes, error %v", name, got.Status, len(got.Body), got.Err)
		}
		p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "upstream_truncated")
	}
}

// TestBodies_BrokenOffOverHTTP10: with no length and no chunks, only a reset can say that
// the body is not whole; a FIN would be its end.
func TestBodies_BrokenOffOverHTTP10(t *testing.T) {
	t.Parallel()
	p := pacetest.Start(t, upstreams(pacetest.NewBackend(t, pacetest.CutChunked)))
	w := p.Wire()
	w.Send("GET /x HTTP/1.0\r\nHost: x\r\n\r\n")
	if got := w.Response("GET"); got.Err == nil {
		t.Errorf("the body of %d bytes ended with FIN, as if whole", len(got.Body))
	}
	p.WantMetric(1, "http_server_request_duration_seconds_count", "pace_outcome", "upstream_truncated")
}

// TestFraming_IsPacesOwn: what a client says in two ways reaches the backend in one.
func TestFraming_IsPacesOwn(t *testing.T) {
	t.Parallel()
	for name, raw := range map[string]string{
		"length and chunks":     "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n",
		"the same length twice": "Content-Length: 4\r\nContent-Length: 4\r\n\r\ndata",
		"two lengths":           "Content-Length: 4\r\nContent-Length: 5\r\n\r\ndata",
		"an unknown coding":     "Transfer-Encoding: gzip, chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n",
		"a length with a sign":  "Content-Length: +4\r\n\r\ndata",
	} {
		b := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, upstreams(b))
		w := p.Wire()
		w.Send("POST /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + raw)
		status := w.Head("POST").StatusCode
		if status != 200 && status != 400 && status != 501 {
			t.Errorf("%s: status %d", name, status)
		}
		for _, r := range b.Requests() {
			head := strings.ToLower(r.Head)
			if n := strings.Count(head, "\r\ncontent-length:") + strings.Count(head, "\r\ntransfer-encoding:"); n != 1 || string(r.Body) != "data" || status != 200 {
				t.Errorf("%s: the backend got body %q behind %q", name, r.Body, r.Head)
			}
		}
	}
}

func TestInterimResponses_Pass(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			x.ReadBody()
			x.Write("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n")
			x.Write("HTTP/1.1 103 Early Hints\r\nLink: </b.css>\r\n\r\n")
			x.Write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine")
		})
		p := pacetest.Start(t, upstreams(b))
		var hints []string
		hop := false
		req := p.Request("GET", "/x", "")
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, header textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, " ", header.Get("Link")))
				hop = hop || header.Get("X-Hop") != "" || header.Get("Connection") != ""
				return nil
			},
		}))
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 200)
		if len(hints) != 2 || hints[0] != "103 </a.css>" || hints[1] != "103 </b.css>" || hop {
			t.Errorf("interim responses %q, hop-by-hop header in them: %t", hints, hop)
		}
		if got.Header.Get("Link") != "" {
			t.Errorf("the final header has the interim's Link %q", got.Header.Get("Link"))
		}
		if line := p.WantAccess("/x"); line.Int("status") != 200 {
			t.Errorf("log says status %s", line.Text("status"))
		}
	})
}

func TestExpectContinue(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		if x.Header.Get("Expect") != "" {
			x.Write("HTTP/1.1 100 Continue\r\n\r\n")
		}
		pacetest.Fine(x)
	})
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
	if got := w.Head("POST"); got.StatusCode != 100 {
		t.Fatalf("status %d before the body, want 100", got.StatusCode)
	}
	w.Send("data")
	wantStatus(t, w.Response("POST"), 200)
	if got := b.WantGot(1, "/x")[0]; string(got.Body) != "data" {
		t.Errorf("the backend got %q", got.Body)
	}
	if line := p.WantAccess("/x"); line.Int("status") != 200 || line.Text("outcome") != "ok" {
		t.Errorf("log says %s, %s", line.Text("status"), line.Text("outcome"))
	}
}

// A client that was sent 100, and still sends when the response comes, gets to read the response: its connection is not reset.
func TestExpectContinue_IsRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 100 Continue\r\n\r\n")
		x.ReadBodyN(1 << 20)
		x.Write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		x.AwaitClose()
	})
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("POST /x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 67108864\r\n\r\n")
	if got := w.Head("POST"); got.StatusCode != 100 {
		t.Fatalf("status %d before the body, want 100", got.StatusCode)
	}
	var sending sync.WaitGroup
	sending.Go(func() { io.WriteString(w, strings.Repeat("x", 8<<20)) })
	defer sending.Wait()
	if got := w.Response("POST"); got.Status != 413 || got.Err != nil {
		t.Errorf("got %+v", got)
	}
	if rest, err := w.Rest(); rest != "" || err != nil {
		t.Errorf("then %q, %v; want the end", rest, err)
	}
}

func TestTrailers_PassBothWays(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, chunkedWith("fine", 1, "X-Checksum: abc\r\nX-Late: yes\r\n"))
		p := pacetest.Start(t, upstreams(b))
		req := p.Request("POST", "/x", "data")
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Digest": {"xyz"}}
		req.Header.Set("Te", "trailers")
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 200)
		if got.Trailer.Get("X-Checksum") != "abc" || got.Trailer.Get("X-Late") != "yes" || got.Body != "fine" {
			t.Errorf("body %q, trailers %v", got.Body, got.Trailer)
		}
		if sent := b.WantGot(1, "/x")[0]; sent.Trailer.Get("X-Digest") != "xyz" || string(sent.Body) != "data" {
			t.Errorf("the backend got body %q, trailers %v", sent.Body, sent.Trailer)
		}
	})
}

// TestTrailers_BringNothingPastTheHeader: what is not let through there is not let through behind the body.
func TestTrailers_BringNothingPastTheHeader(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, chunkedWith("fine", 1, "X-Sum: final\r\nX-Backend: forged\r\nSet-Cookie: a=b\r\n"))
		p := pacetest.Start(t, upstreams(b))
		req := p.Request("POST", "/x", "data")
		req.ContentLength = -1
		req.Trailer = http.Header{"X-Digest": {"xyz"}, "X-Forwarded-For": {"6.6.6.6"}, "X-Proxy": {"evil"}, "Traceparent": {"evil"}, "Cookie": {"a=b"}}
		got := pacetest.Do(mode.Client(t), req)
		wantStatus(t, got, 200)
		if sent := b.WantGot(1, "/x")[0]; len(sent.Trailer) != 1 || sent.Trailer.Get("X-Digest") != "xyz" {
			t.Errorf("the backend got trailers %v", sent.Trailer)
		}
		for name, want := range map[string]string{"X-Sum": "final", "X-Backend": "", "Set-Cookie": ""} {
			if v := strings.Join(got.Trailer.Values(name), "|"); v != want {
				t.Errorf("trailer %s = %q, want %q", name, v, want)
			}
		}
	})
}

// TestHost_IsOne: HTTP/2 can name a host twice. A backend that took the other one would answer for it.
func TestHost_IsOne(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	for host, want := range map[string]string{"good.example": "ok", "internal.example": "bad_request"} {
		var block strings.Builder
		for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":path", "/" + host}, {":authority", "good.example"}, {"host", host}} {
			fmt.Fprintf(&block, "\x00%c%s%c%s", len(f[0]), f[0], len(f[1]), f[1]) // RFC 7541 §6.2.2
		}
		w := p.Wire()
		w.Send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")           // SETTINGS
		w.Send(fmt.Sprintf("\x00\x00%c\x01\x05\x00\x00\x00\x01%s", block.Len(), block.String())) // HEADERS, and the end
		if line := p.WantAccess("/" + host); line.Text("outcome") != want {
			t.Errorf("host %s: outcome %s, want %s", host, line.Text("outcome"), want)
		}
	}
	if all := b.Requests(); len(all) != 1 || strings.Count(strings.ToLower(all[0].Head), "\nhost:") != 1 {
		t.Errorf("the backend got %+v, want one request with one Host", all)
	}
}

func TestHEAD_KeepsTheLengthAndHasNoBody(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		b := pacetest.NewBackend(t, pacetest.Status(200, strings.Repeat("x", 1234)))
		p := pacetest.Start(t, upstreams(b))
		c := mode.Client(t)
		for range 2 { // the second on the same connections
			got := pacetest.Do(c, p.Request("HEAD", "/x", ""))
			wantStatus(t, got, 200)
			if got.Header.Get("Content-Length") != "1234" || got.Body != "" {
				t.Errorf("Content-Length %q, body of %d bytes", got.Header.Get("Content-Length"), len(got.Body))
			}
		}
		if b.Accepted() != 1 {
			t.Errorf("%d connections to the backend for two HEADs", b.Accepted())
		}
		p.WantMetric(2, "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	})
}

func TestHopByHop_HeadersStopHere(t *testing.T) {
	t.Parallel()
	hop := words("X-Listed X-Also Keep-Alive Proxy-Connection Te Upgrade Connection Transfer-Encoding Trailer")
	b := pacetest.NewBackend(t, pacetest.With(200,
		"Connection: X-Listed\r\nConnection: x-also, keep-alive\r\nX-Listed: 1\r\nX-Also: 2\r\nKeep-Alive: timeout=5\r\n"+
			"Proxy-Connection: keep-alive\r\nX-End: kept\r\n", "fine"))
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /x HTTP/1.1\r\nHost: x\r\nConnection: X-Listed\r\nConnection: x-also, X-Forwarded-For, X-Proxy, keep-alive\r\nX-Listed: 1\r\nX-Also: 2\r\n" +
		"Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: gzip\r\nX-End: kept\r\n\r\n")
	response := w.Response("GET")
	wantStatus(t, response, 200)
	sent := b.WantGot(1, "/x")[0].Header
	for _, name := range hop {
		if v := response.Header.Values(name); len(v) > 0 {
			t.Errorf("the client got %s: %q", name, v)
		}
		if v := sent.Values(name); len(v) > 0 {
			t.Errorf("the backend got %s: %q", name, v)
		}
	}
	if response.Header.Get("X-End") != "kept" || sent.Get("X-End") != "kept" {
		t.Errorf("an end-to-end header is lost: %q, %q", response.Header.Get("X-End"), sent.Get("X-End"))
	}
	// Naming them in Connection must not take away what pace itself says.
	if sent.Get("X-Forwarded-For") != "127.0.0.1" || sent.Get("X-Proxy") != "pace" {
		t.Errorf("X-Forwarded-For = %q, X-Proxy = %q", sent.Get("X-Forwarded-For"), sent.Get("X-Proxy"))
	}
}

func TestTarget_IsForwardedAsItCame(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	for _, target := range words("/a%2Fb/%7Ec//d/../e/./f?x=1;y=2&z=%zz&&=+ // /.. /%2e%2e/x /? /a?b?c /%E2%82%AC /a;b=c,d@e:f") {
		w := p.Wire()
		w.Send("GET " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
		if got := b.Requests(); got[len(got)-1].Target != target {
			t.Errorf("the backend got %s, the client sent %s", got[len(got)-1].Target, target)
		}
	}
}

func TestKeepAlive_ManyRequestsOnOneConnection(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	for range 20 {
		w.Send("GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
	}
	w.Send("GET /x HTTP/1.0\r\n\r\n")
	wantStatus(t, w.Response("GET"), 200)
	if b.Accepted() != 1 {
		t.Errorf("%d connections to the backend", b.Accepted())
	}
}

func TestMemory_StaysFlatWhileALargeBodyPasses(t *testing.T) {
	t.Parallel()
	const size, block = 128 << 20, 256 << 10
	b := pacetest.NewBackend(t, chunkedWith(strings.Repeat("x", block), size/block, ""))
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/warm-up"), 200)
	before := p.RSS()
	resp, err := pacetest.H1.Client(t).Do(p.Request("GET", "/x", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	maxRSS := before
	for n := int64(0); n < size; n += 8 << 20 {
		if _, err := io.CopyN(io.Discard, resp.Body, 8<<20); err != nil {
			t.Fatal(err)
		}
		maxRSS = max(maxRSS, p.RSS())
	}
	if maxRSS-before > size/4 {
		t.Errorf("RSS grew from %d to %d MiB over a body of %d MiB", before>>20, maxRSS>>20, size>>20)
	}
}
