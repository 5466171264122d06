// Package announced reads the PROXY protocol's header, in which a proxy in front says which client's connection it
// passes on (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). It must not know HTTP, nor any other
// package of pace.
package announced

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

const (
	signature = "\r\n\r\n\x00\r\nQUIT\n" // with which a header of version 2 begins
	longestV1 = 107
	longestV2 = 536 // of the addresses and what else a proxy may tell; the specification asks for no more
)

// Errors about a header.
var (
	ErrMissing = errors.New("the connection does not begin with a PROXY header")
	ErrTooLong = errors.New("the PROXY header is too long")
	ErrFamily  = errors.New("the PROXY header names no address of TCP")
)

// Read reads the header from r, byte for byte, so that nothing after it is read. It returns the client's address; it
// is not valid if the proxy speaks for itself (LOCAL), or does not know the client (UNKNOWN).
func Read(r io.Reader) (client netip.AddrPort, err error) {
	raw, err := header(r)
	if err != nil {
		return client, err
	}
	if string(raw[:len(signature)]) == signature && raw[12] == 0x21 && raw[13] == 0 { // the library refuses AF_UNSPEC
		return client, nil
	}
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(raw), len(raw)))
	if err != nil {
		return client, fmt.Errorf("malformed PROXY header: %w", err)
	}
	if h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC {
		return client, nil
	}
	from, _, ok := h.TCPAddrs()
	if !ok {
		return client, ErrFamily
	}
	at := from.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port()), nil
}

// Begins reports whether b, what a connection begins with, begins a header, or may: five bytes are enough to tell.
func Begins(b []byte) bool {
	return begins(b, "PROXY ") || begins(b, signature)
}

func begins(b []byte, with string) bool {
	n := min(len(b), len(with))
	return n >= 5 && string(b[:n]) == with[:n]
}

// header reads the bytes of a header, of either version.
func header(r io.Reader) ([]byte, error) {
	b := make([]byte, len(signature), longestV1)
	if _, err := io.ReadFull(r, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, ErrMissing
		}
		return nil, err
	}
	if string(b) == signature {
		return headerV2(r, b)
	}
	if !Begins(b) {
		return nil, ErrMissing
	}
	for b[len(b)-1] != '\n' {
		if len(b) == longestV1 {
			return nil, ErrTooLong
		}
		b = b[:len(b)+1]
		if _, err := io.ReadFull(r, b[len(b)-1:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func headerV2(r io.Reader, b []byte) ([]byte, error) {
	b = append(b, 0, 0, 0, 0)
	if _, err := io.ReadFull(r, b[len(signature):]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(b[len(b)-2:]))
	if n > longestV2 {
		return nil, ErrTooLong
	}
	b = append(b, make([]byte, n)...)
	_, err := io.ReadFull(r, b[len(b)-n:])
	return b, err
}
