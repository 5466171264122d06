package h2

import (
	"slices"
	"testing"

	"pace/proxy/frames"
)

// What the kernel took of a body is counted to the byte, wherever the writes begin and end, and of each stream by itself.
func TestConn_Taken(t *testing.T) {
	header := []byte("\x82\x86\x84\x41\x01x") // GET http / x
	request := func(id uint32) []byte {
		return frame(frames.Headers, frames.EndHeaders|frames.EndStream, id, header)
	}
	sent := slices.Concat(
		frame(frames.Settings, 0, 0, nil),
		frame(frames.Headers, frames.EndHeaders, 1, []byte("fields")),
		frame(frames.Data, 0, 1, make([]byte, 100)),
		frame(frames.Data, 0, 3, make([]byte, 30)),
		frame(frames.Data, 0, 1, nil),
		frame(frames.Data, 0, 1, make([]byte, 50)),
	)
	for size := 1; size <= len(sent); size++ {
		c, _ := readIncoming(1<<10, slices.Concat(request(1), request(3)))
		for piece := range slices.Chunk(sent[:len(sent)-20], size) {
			c.ReadTaken(piece)
		}
		if one, three := c.Taken(1), c.Taken(3); one != 130 || three != 30 {
			t.Fatalf("in pieces of %d bytes: %d and %d were taken, want 130 and 30", size, one, three)
		}
	}
}
