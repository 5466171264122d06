package check

import (
	"context"
	"fmt"
	"io"
	"net"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
	"pace/proxy/transport/http2"
)

// Limits of what is read of a response, in bytes. A longer header fails the check; of a longer body the rest is
// not read.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 10
)

// connections are one connection, on which a request can be sent.
type connections interface {
	Do(context.Context, *transport.Request, *transport.Response) error
	Close()
}

// connections returns c as a pool of the transport for this protocol.
func (r *Runner) connections(c net.Conn, isHTTP2 bool) connections {
	dialed := func(context.Context, string, string) (net.Conn, error) { return c, nil }
	late := 2 * r.o.Timeout // the context of the check ends earlier
	if isHTTP2 {
		return http2.NewPool(dial.Address{}, http2.Options{
			Dial: dialed, Scheme: r.scheme(), ConnectTimeout: late, ResponseTimeout: late, MaxHeaderBytes: maxHeader,
		})
	}
	return http1.NewPool(dial.Address{}, http1.Options{Dial: dialed, ResponseTimeout: late, MaxHeaderBytes: maxHeader})
}

// scheme is that of requests.
func (r *Runner) scheme() string {
	if r.backend.Secure {
		return "https"
	}
	return "http"
}

// checkHTTP sends a GET, as an attempt is sent. The check passes if the status is one that passes, and the body
// comes in time as far as it is read. A redirect is not followed.
func checkHTTP(ctx context.Context, r *Runner, c net.Conn) (status int, err error) {
	conns := r.connections(c, r.backend.HTTP2)
	defer conns.Close()
	var resp transport.Response
	err = conns.Do(ctx, &transport.Request{
		Method: "GET", Target: r.o.Path, Host: r.authority(),
		Fields: []byte("User-Agent: " + UserAgent + "\r\nAccept: */*\r\n"),
	}, &resp)
	if err != nil {
		return 0, err
	}
	defer resp.Close()
	if !r.o.Statuses.Has(resp.Status) {
		return resp.Status, transport.NewFault(fmt.Sprintf("status %d, expected %v", resp.Status, r.o.Statuses))
	}
	for n := 0; n < maxBody && err == nil; {
		var piece []byte
		piece, err = resp.Next()
		n += len(piece)
	}
	if err == io.EOF {
		err = nil
	}
	return resp.Status, err
}
