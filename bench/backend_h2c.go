package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// listenH2C serves /small and the gRPC call over HTTP/2 in clear text.
func listenH2C(addr string, accepted *atomic.Int64) error {
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			return err
		}
		accepted.Add(1)
		go func() {
			defer conn.Close()
			newServed(conn).run()
		}()
	}
}

// served is a connection of the backend over HTTP/2.
type served struct {
	*h2Conn
	path    string // of the block of fields that is read
	calls   []uint32
	window  int      // bytes that the peer takes over the connection
	waiting []uint32 // streams whose responses wait for that
	small   [1][]byte
	unary   [2][]byte // header, trailer

	body, message []byte
}

func newServed(conn net.Conn) *served {
	s := &served{h2Conn: newH2Conn(conn), window: 65535, message: grpcMessage(smallSize)}
	_, s.body, _ = bytes.Cut(smallResponse, []byte("\r\n\r\n"))
	s.decoder.SetEmitFunc(func(f hpack.HeaderField) {
		if f.Name == ":path" {
			s.path = f.Value
		}
	})
	s.small[0] = block(":status", "200", "content-type", "application/json", "content-length", "300", "server", "bench")
	s.unary = [2][]byte{block(":status", "200", "content-type", "application/grpc"), block("grpc-status", "0", "grpc-message", "")}
	return s
}

// block encodes fields so that they can be sent again and again.
func block(fields ...string) []byte {
	var b strings.Builder
	encoder := hpack.NewEncoder(&b)
	encoder.SetMaxDynamicTableSize(0)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return []byte(b.String())
}

func (s *served) run() error {
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(s.r, preface); err != nil || string(preface) != http2.ClientPreface {
		return errors.New("no preface of HTTP/2")
	}
	s.open(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 250}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	for {
		if err := s.flush(); err != nil {
			return err
		}
		frame, err := s.read()
		if err != nil {
			return err
		}
		if err := s.take(frame); err != nil {
			return err
		}
	}
}

// take responds to a request when its end has come.
func (s *served) take(frame http2.Frame) error {
	id := frame.Header().StreamID
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		if _, err := s.decoder.Write(frame.HeaderBlockFragment()); err != nil {
			return err
		}
		if s.path == grpcPath {
			s.calls = append(s.calls, id)
		}
		if frame.StreamEnded() {
			s.waiting = append(s.waiting, id)
		}
	case *http2.DataFrame:
		if frame.StreamEnded() {
			s.waiting = append(s.waiting, id)
		}
	case *http2.WindowUpdateFrame:
		if id == 0 {
			s.window += int(frame.Increment)
		}
	}
	for len(s.waiting) > 0 && s.window >= len(s.message) {
		s.respond(s.waiting[0])
		s.waiting = s.waiting[1:]
	}
	return nil
}

func (s *served) respond(id uint32) {
	i := slices.Index(s.calls, id)
	if i < 0 {
		s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.small[0], EndHeaders: true})
		s.WriteData(id, true, s.body)
		s.window -= len(s.body)
		return
	}
	s.calls = slices.Delete(s.calls, i, i+1)
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.unary[0], EndHeaders: true})
	s.WriteData(id, false, s.message)
	s.window -= len(s.message)
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.unary[1], EndHeaders: true, EndStream: true})
}
