package proxy

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"testing"
	"time"
)

// slowNames is a resolver to which every name is 127.0.0.1, once this time has passed.
func slowNames(t testing.TB, after time.Duration) *net.Resolver {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			response := resolved(buf[:n])
			time.AfterFunc(after, func() { c.WriteTo(response, from) })
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", c.LocalAddr().String())
	}}
}

// resolved is the answer to a DNS query (RFC 1035 §4): 127.0.0.1 for an A record, none for others.
func resolved(query []byte) []byte {
	const header = 12
	end := header + bytes.IndexByte(query[header:], 0) + 1 + 4 // name, type, class
	a := append([]byte(nil), query[:end]...)
	isA := byte(0)
	if binary.BigEndian.Uint16(query[end-4:]) == 1 {
		isA = 1
		a = append(a, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1) // the name at header, A, IN, 60 s
	}
	copy(a[2:], []byte{0x81, 0x80, 0, 1, 0, isA, 0, 0, 0, 0}) // a recursive answer to one question
	return a
}
