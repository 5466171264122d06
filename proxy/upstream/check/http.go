package check

import (
	"context"
	"fmt"
	"io"
	"net"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
	"pace/proxy/transport/http1"
)

// Limits of what is read of a response, in bytes. A longer header fails the check; of a longer body the rest is
// not read.
const (
	maxHeader = 64 << 10
	maxBody   = 64 << 10
)

// checkHTTP sends a GET, as an attempt is sent. The check passes if the status is one that passes, and the body
// comes in time as far as it is read. A redirect is not followed.
func checkHTTP(ctx context.Context, r *Runner, c net.Conn) (status int, err error) {
	conns := http1.NewPool(dial.Address{}, http1.Options{
		Dial:            func(context.Context, string, string) (net.Conn, error) { return c, nil },
		ResponseTimeout: 2 * r.o.Timeout, // ctx ends earlier
		MaxHeaderBytes:  maxHeader,
	})
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
