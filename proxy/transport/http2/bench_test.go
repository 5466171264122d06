package http2

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
)

// BenchmarkDo is a small request on a warm connection, the backend included, beside HTTP/1.1.
func BenchmarkDo(b *testing.B) {
	serve := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }
	one := httptest.NewServer(http.HandlerFunc(serve))
	b.Cleanup(one.Close)
	for name, p := range map[string]interface {
		Do(context.Context, *transport.Request, *transport.Response) error
	}{
		"http2": pool(b, backend(b, serve), Options{}),
		"http1": http1.NewPool(dial.Address{Network: "tcp", Addr: one.Listener.Addr().String()}, http1.Options{}),
	} {
		b.Run("impl="+name, func(b *testing.B) {
			b.ReportAllocs()
			var resp transport.Response
			req := get("/hello")
			for n := 0; b.Loop(); n++ {
				req.Fields = fmt.Appendf(req.Fields[:0], "Accept: */*\r\nUser-Agent: bench\r\nVia: 1.1 pace\r\nX-Forwarded-For: 10.0.0.1\r\n"+
					"Traceparent: 00-%032x-%016x-01\r\nX-Request-Id: %032x\r\n", n, n, n)
				if err := p.Do(b.Context(), req, &resp); err != nil {
					b.Fatal(err)
				}
				if _, err := readAll(&resp); err != nil {
					b.Fatal(err)
				}
				resp.Close()
			}
		})
	}
}

// BenchmarkLarge is 16 MiB in one direction.
func BenchmarkLarge(b *testing.B) {
	large := strings.Repeat("x", 16<<20)
	serve := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.Method == "GET" {
			io.WriteString(w, large)
		}
	}
	p := pool(b, backend(b, serve), Options{})
	for _, up := range []bool{false, true} {
		b.Run(fmt.Sprint("up=", up), func(b *testing.B) {
			b.SetBytes(int64(len(large)))
			b.ReportAllocs()
			var resp transport.Response
			for b.Loop() {
				req := get("/")
				if up {
					req = post(large)
				}
				if err := p.Do(b.Context(), req, &resp); err != nil {
					b.Fatal(err)
				}
				for {
					_, err := resp.Next()
					if err == io.EOF {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				resp.Close()
			}
		})
	}
}
