package h2

import (
	"testing"

	"pace/proxy/frames"
)

// More follows of a stream from its first frame to its last, if its handler said so and has not taken that back.
func TestConn_MoreFollows(t *testing.T) {
	header, data := frame(frames.Headers, frames.EndHeaders, 1, nil), frame(frames.Data, 0, 1, []byte("x"))
	expect := func(c *Conn) { c.ExpectMore(1) }
	comes := func(b []byte) func(*Conn) { return func(c *Conn) { c.in.read(b) } }
	goes := func(b []byte) func(*Conn) { return func(c *Conn) { c.ReadOutgoing(b) } }
	for _, tt := range []struct {
		name string
		do   []func(*Conn)
		want bool
	}{
		{"nobody said so", []func(*Conn){goes(header)}, false},
		{"nothing has gone out", []func(*Conn){expect}, false},
		{"the header has gone out", []func(*Conn){expect, goes(header)}, true},
		{"a piece has gone out", []func(*Conn){goes(header), expect, goes(data)}, true},
		{"a piece of another stream has gone out", []func(*Conn){expect, goes(frame(frames.Data, 0, 3, []byte("x")))}, false},
		{"the end has gone out", []func(*Conn){expect, goes(header), goes(frame(frames.Data, frames.EndStream, 1, nil))}, false},
		{"a trailer has gone out", []func(*Conn){expect, goes(header), goes(frame(frames.Headers, frames.EndHeaders|frames.EndStream, 1, nil))}, false},
		{"a reset has gone out", []func(*Conn){expect, goes(header), goes(frame(frames.Reset, 0, 1, []byte{0, 0, 0, 2}))}, false},
		{"the client has reset it", []func(*Conn){expect, goes(header), comes(frame(frames.Reset, 0, 1, []byte{0, 0, 0, 8}))}, false},
		{"the handler flushes", []func(*Conn){expect, goes(header), func(c *Conn) { c.ExpectNoMore(1) }}, false},
		{"another handler flushes", []func(*Conn){expect, goes(header), func(c *Conn) { c.ExpectNoMore(3) }}, true},
		{"it has taken too long", []func(*Conn){expect, goes(header), (*Conn).ExpectNothing}, false},
	} {
		c, _ := readIncoming(1000, nil)
		for _, f := range tt.do {
			f(c)
		}
		if got := c.MoreFollows(); got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, got, tt.want)
		}
	}
}

// Streams that are reset in the wrong moment are not remembered for ever.
func TestConn_ExpectMore_IsBounded(t *testing.T) {
	c, _ := readIncoming(1000, nil)
	for id := uint32(1); id < 10_000; id += 2 {
		c.ExpectMore(id)
	}
	if len(c.expected) > maxExpected {
		t.Errorf("%d are remembered", len(c.expected))
	}
}
