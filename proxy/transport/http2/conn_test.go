package http2

import (
	"bytes"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"pace/proxy/transport/dial"
)

// halting takes half of one write, until its deadline.
type halting struct {
	net.Conn
	halted bool
}

func (h *halting) Write(b []byte) (int, error) {
	if !h.halted && len(b) > 1000 {
		h.halted = true
		return len(b) / 2, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

func (*halting) SetWriteDeadline(time.Time) error { return nil }

func (*halting) RemoteAddr() net.Addr { return &net.TCPAddr{} }

// What net/http writes again after a deadline is read along once. Bytes of a body would else be read as frames.
func TestConn_APartOfAWriteIsReadAlongOnce(t *testing.T) {
	c := newConn(&halting{}, NewPool(dial.Address{Network: "tcp", Addr: "127.0.0.1:1"}, Options{}))
	var frames bytes.Buffer
	f := http2.NewFramer(&frames, nil)
	write := func() {
		for frames.Len() > 0 {
			n, _ := c.Write(frames.Bytes())
			frames.Next(n)
		}
	}
	frames.WriteString(http2.ClientPreface)
	f.WriteSettings()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, EndHeaders: true})
	write()
	// As frame heads, this would be HEADERS on a stream with the largest number.
	f.WriteData(1, false, bytes.Repeat([]byte{0, 0, 0, 1, 4, 0x7f, 0xff, 0xff, 0xff}, 1000))
	write()
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, EndHeaders: true})
	write()
	if c.newest.id != 3 {
		t.Errorf("the newest stream is %d, want 3", c.newest.id)
	}
	if err := c.why(); err != nil {
		t.Errorf("the connection counts as lost: %v", err)
	}
}
