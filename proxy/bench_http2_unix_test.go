//go:build unix

package proxy

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// BenchmarkHTTP2 compares pace with everything on with a bare httputil.ReverseProxy behind net/http's server, over
// HTTP/2 in clear text, one request at a time. Each request has a goroutine of its own, and so a new stack.
func BenchmarkHTTP2(b *testing.B) {
	b.Run("impl=pace", func(b *testing.B) { requestOverHTTP2(b, start(b, nil, rawOrigin(b, responder)).Addr) })
	b.Run("impl=ReverseProxy", func(b *testing.B) {
		target := &url.URL{Scheme: "http", Host: rawOrigin(b, responder)}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		s := &http.Server{
			Handler:   &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.SetXForwarded() }},
			Protocols: new(http.Protocols),
		}
		s.Protocols.SetUnencryptedHTTP2(true)
		go s.Serve(l)
		defer s.Close()
		requestOverHTTP2(b, l.Addr().String())
	})
}

// cpu is what this process has used, client and backend included. Unlike the time, it says something on a busy machine.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// requestOverHTTP2 sends requests on one connection, with little more than the frames that this needs.
func requestOverHTTP2(b *testing.B, addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	w := bufio.NewWriter(c)
	f := http2.NewFramer(w, bufio.NewReader(c))
	f.SetReuseFrames()
	io.WriteString(w, http2.ClientPreface)
	f.WriteSettings()
	f.WriteWindowUpdate(0, 1<<30)
	var block bytes.Buffer
	e := hpack.NewEncoder(&block)
	e.SetMaxDynamicTableSize(0)
	for _, field := range []hpack.HeaderField{{Name: ":method", Value: "GET"}, {Name: ":scheme", Value: "http"}, {Name: ":authority", Value: "example.com"},
		{Name: ":path", Value: "/hello?name=you"}, {Name: "user-agent", Value: "test/1"}, {Name: "accept", Value: "*/*"}} {
		e.WriteField(field)
	}
	b.ReportAllocs()
	before := cpu()
	defer func() { b.ReportMetric(float64(cpu()-before)/float64(b.N), "cpu-ns/op") }()
	for id := uint32(1); b.Loop(); id += 2 {
		f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
		if err := w.Flush(); err != nil {
			b.Fatal(err)
		}
		for ended := false; !ended; {
			frame, err := f.ReadFrame()
			if err != nil {
				b.Fatal(err)
			}
			h := frame.Header()
			ended = h.StreamID == id && h.Type <= http2.FrameHeaders && h.Flags.Has(http2.FlagDataEndStream)
		}
	}
}
