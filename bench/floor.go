package main

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"runtime/debug"
)

// The peers below do less than any proxy. The certificate is in the working folder.

// floorGrowth is by how many per cent their heap may grow between two collections: as a small heap of pace's may. With
// Go's default, 100, they would cost more than they must.
const floorGrowth = 300

// serveTLSAlone makes handshakes, and sends the same response for whatever comes.
func serveTLSAlone(addr string) error {
	debug.SetGCPercent(floorGrowth)
	certificate, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", addr, &tls.Config{
		Certificates: []tls.Certificate{certificate}, NextProtos: []string{"http/1.1"},
	})
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		go respondAlways(conn)
	}
}

func respondAlways(conn net.Conn) {
	defer conn.Close()
	request := make([]byte, 1024)
	for {
		if _, err := conn.Read(request); err != nil {
			return
		}
		if _, err := conn.Write(smallResponse); err != nil {
			return
		}
	}
}

// serveNetHTTPAlone sends the backend the same bytes for each request, and passes on the body that comes back.
func serveNetHTTPAlone(addr, backend string) error {
	debug.SetGCPercent(floorGrowth)
	idle := make(chan net.Conn, 64)
	return serve(wire{TLS: true}, addr, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		var conn net.Conn
		var err error
		select {
		case conn = <-idle:
		default:
			if conn, err = net.Dial("tcp", backend); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
				return
			}
		}
		response := make([]byte, len(smallResponse))
		io.WriteString(conn, "GET /small HTTP/1.1\r\nHost: "+backend+"\r\nUser-Agent: bench/1\r\n\r\n")
		if _, err := io.ReadFull(conn, response); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		idle <- conn
		_, body, _ := bytes.Cut(response, []byte("\r\n\r\n"))
		w.Write(body)
	}))
}
