package frames

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	return append(binary.BigEndian.AppendUint32(append(b, flags), stream), payload...)
}

// Frames are found wherever the connection cuts them.
func TestFrameReader_FramesMayBeCutAnywhere(t *testing.T) {
	all := frame(4, 0, 0, []byte("\x00\x03\x00\x00\x00\xfa"))
	all = append(all, frame(Data, EndStream, 3, make([]byte, 300))...)
	all = append(all, frame(4, 1, 0, nil)...)
	all = append(all, frame(Reset, 0, 1<<31|5, []byte{0, 0, 0, 8})...)
	const want = "4 0 6 [0 3 0]; 0 3 300 [0 0 0]; 4 0 0 []; 3 5 4 [0 0 0]; "
	for size := 1; size <= len(all); size++ {
		var f Reader
		var got strings.Builder
		for part := range slices.Chunk(all, size) {
			for whole := false; len(part) > 0; {
				if part, whole = f.Next(part, func(*Reader) int { return 3 }); whole {
					fmt.Fprintf(&got, "%d %d %d %v; ", f.Kind(), f.Stream(), f.Length(), f.Payload)
				}
			}
		}
		if got.String() != want {
			t.Errorf("in pieces of %d bytes: got %s, want %s", size, got.String(), want)
		}
	}
}
