package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
)

const (
	smallSize = 300
	mib       = 1 << 20
	gib       = 1 << 30
)

var (
	chunk         = bytes.Repeat([]byte("pace"), mib/4)
	smallResponse = fmt.Appendf(head("application/json", smallSize),
		`{"backend":"bench","method":"GET","path":"/small","note":"%s"}`, strings.Repeat("x", smallSize-60))
)

// serveBackend sends fixed bodies over HTTP/1.1 with keep-alive: /small, /mib, /gib, and /accepted, the
// number of connections that it has accepted. It responds once it has read the request's body. It knows
// just enough HTTP: a header ends with an empty line. That costs 4 µs per request; a hand-written loop
// over epoll measured the same, and net/http would cost more than most of the proxies in front of it.
// On the address h2c it serves the same over HTTP/2, see [listenH2C].
func serveBackend(addr, h2c string) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	var accepted atomic.Int64
	faults := make(chan error, 2)
	go func() { faults <- listenH2C(h2c, &accepted) }()
	go func() { faults <- listenHTTP1(listener, &accepted) }()
	return <-faults
}

func listenHTTP1(listener net.Listener, accepted *atomic.Int64) error {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		accepted.Add(1)
		go serveConn(conn, accepted)
	}
}

// serveConn serves one connection until its end.
func serveConn(conn net.Conn, accepted *atomic.Int64) {
	defer conn.Close()
	request := make([]byte, 0, 4096)
	for len(request) < cap(request) {
		n, err := conn.Read(request[len(request):cap(request)])
		if err != nil {
			return
		}
		request = request[:len(request)+n]
		head, body, whole := bytes.Cut(request, []byte("\r\n\r\n"))
		if !whole {
			continue
		}
		if err := take(conn, head, len(body)); err != nil {
			return
		}
		if err := respond(conn, request, accepted); err != nil {
			return
		}
		request = request[:0]
	}
}

// take reads the body that the header announces, except for the bytes that came with the header. Only PUT has one; HAProxy
// sends names of fields in lower case.
func take(conn net.Conn, head []byte, have int) error {
	if !bytes.HasPrefix(head, []byte("PUT ")) {
		return nil
	}
	_, field, announced := bytes.Cut(bytes.ToLower(head), []byte("\r\ncontent-length: "))
	if !announced {
		return nil
	}
	var size int
	if _, err := fmt.Sscan(string(field), &size); err != nil {
		return err
	}
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, io.LimitReader(struct{ io.Reader }{conn}, int64(size-have)), make([]byte, mib))
	return err
}

func head(kind string, size int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: bench\r\nDate: Mon, 02 Jan 2006 15:04:05 GMT\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n", kind, size)
}

func respond(conn net.Conn, request []byte, accepted *atomic.Int64) (err error) {
	_, path, _ := bytes.Cut(request, []byte(" "))
	path, _, _ = bytes.Cut(path, []byte(" "))
	switch string(path) {
	case "/small":
		_, err = conn.Write(smallResponse)
	case "/mib":
		err = send(conn, mib)
	case "/gib":
		err = send(conn, gib)
	case "/accepted":
		count := fmt.Append(nil, accepted.Load())
		_, err = conn.Write(append(head("text/plain", len(count)), count...))
	default:
		err = fmt.Errorf("unknown request %.40q", request)
	}
	return err
}

func send(conn net.Conn, size int) error {
	parts := net.Buffers{head("application/octet-stream", size)}
	for range size / len(chunk) {
		parts = append(parts, chunk)
	}
	_, err := parts.WriteTo(conn)
	return err
}
