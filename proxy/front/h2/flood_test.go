package h2

import (
	"bytes"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/frames"
	"pace/telemetry"
)

const simpleHeader = "\x82\x86\x84\x41\x01x" // GET http / x

var (
	ping         = frame(frames.Ping, 0, 0, make([]byte, 8))
	windowUpdate = frame(frames.WindowUpdate, 0, 0, []byte{0, 0, 0, 1})
	emptyData    = frame(frames.Data, 0, 1, nil)
)

// requestReset returns the n-th request, and its reset.
func requestReset(n int) []byte {
	id := uint32(2*n + 1)
	return append(frame(frames.Headers, frames.EndHeaders|frames.EndStream, id, []byte(simpleHeader)), frame(frames.Reset, 0, id, []byte{0, 0, 0, 8})...)
}

// requestBroken returns the n-th request, and a frame because of which net/http resets it.
func requestBroken(n int) []byte {
	id := uint32(2*n + 1)
	return append(frame(frames.Headers, frames.EndHeaders, id, []byte(simpleHeader)), frame(frames.WindowUpdate, 0, id, make([]byte, 4))...)
}

// The frame after the last that is allowed is one of a flood, and net/http reads nothing behind it.
func TestFloods_BeginAtTheirLimit(t *testing.T) {
	each := func(b []byte) func(int) []byte { return func(int) []byte { return b } }
	open := frame(frames.Headers, frames.EndHeaders, 1, []byte(simpleHeader))
	for _, tt := range []struct {
		name   string
		before []byte
		frames func(n int) []byte
		limit  int
	}{
		{"PING", nil, each(frame(frames.Ping, frames.Ack, 0, make([]byte, 8))), maxControl},
		{"SETTINGS", nil, each(frame(frames.Settings, frames.Ack, 0, nil)), maxControl},
		{"WINDOW_UPDATE", nil, each(windowUpdate), maxControl},
		{"PRIORITY", nil, each(frame(frames.Priority, 0, 3, []byte{0, 0, 0, 0, 1})), maxControl},
		{"a frame of an unknown type", nil, each(frame(99, 0, 3, nil)), maxControl},
		{"empty DATA", open, each(emptyData), maxControl},
		{"DATA that is padding only", open, each(frame(frames.Data, frames.Padded, 1, []byte{2, 0, 0})), maxControl},
		{"a byte of DATA after the end of the stream", append(slices.Clone(open), frame(frames.Data, frames.EndStream, 1, nil)...), each(frame(frames.Data, 0, 1, []byte{1})), maxControl},
		{"an end of a stream that has ended", append(slices.Clone(open), frame(frames.Data, frames.EndStream, 1, nil)...), each(frame(frames.Data, frames.EndStream, 1, nil)), maxControl},
		{"a part of a header", frame(frames.Headers, 0, 1, bytes.Repeat([]byte{0x82}, shortFragment)), each(frame(frames.Continuation, 0, 1, nil)), maxControl},
		{"RST_STREAM", nil, requestReset, maxResets},
		{"a stream that net/http resets", nil, requestBroken, maxResets},
	} {
		var refused []telemetry.Refusal
		c := New(watch(100_000, &refused))
		c.ReadIncoming(tt.before)
		for n := range tt.limit {
			b := tt.frames(n)
			if read := c.ReadIncoming(b); read != len(b) || c.Flooded() {
				t.Fatalf("%s: the frame %d of %d is one of a flood", tt.name, n+1, tt.limit)
			}
		}
		b := tt.frames(tt.limit)
		if read := c.ReadIncoming(append(slices.Clone(b), ping...)); read != len(b) || !c.Flooded() || !c.GivenUp() {
			t.Errorf("%s: one more is no flood", tt.name)
		}
		if !slices.Equal(refused, []telemetry.Refusal{telemetry.RefusedFlood}) {
			t.Errorf("%s: refused %v, want one flood", tt.name, refused)
		}
		if read := c.ReadIncoming(ping); read != len(ping) || len(refused) != 1 {
			t.Errorf("%s: what comes after it is counted, too", tt.name)
		}
	}
}

// What comes slowly, or belongs to requests, is no flood, however much it is.
func TestFloods_AreNotWhatTakesItsTime(t *testing.T) {
	for _, tt := range []struct {
		name   string
		frames func(n int) []byte
		every  time.Duration
	}{
		{"950 PING a second", func(int) []byte { return append(slices.Clone(ping), frame(frames.Settings, 0, 0, nil)...) }, time.Second / 475},
		{"95 resets a second", requestReset, time.Second / 95},
		{"requests whose end is an empty frame", func(n int) []byte {
			id := uint32(2*n + 1)
			return append(frame(frames.Headers, frames.EndHeaders, id, []byte(simpleHeader)), frame(frames.Data, frames.EndStream, id, nil)...)
		}, 0},
		{"requests whose headers end in a short frame", func(n int) []byte {
			id, block := uint32(2*n+1), append([]byte(simpleHeader+"\x00\x01x\x7f\xd1\x0e"), bytes.Repeat([]byte{'a'}, 2000)...)
			return append(frame(frames.Headers, frames.EndStream, id, block[:2000]), frame(frames.Continuation, frames.EndHeaders, id, block[2000:])...)
		}, 0},
		{"a body of single bytes", func(n int) []byte {
			if n == 0 {
				return frame(frames.Headers, frames.EndHeaders, 1, []byte(simpleHeader))
			}
			return frame(frames.Data, 0, 1, []byte{1})
		}, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var refused []telemetry.Refusal
			c := New(watch(100_000, &refused))
			for n := range 30_000 {
				c.ReadIncoming(tt.frames(n))
				c.ReadOutgoing(frame(frames.Ping, frames.Ack, 0, make([]byte, 8)))
				c.ReadOutgoing(frame(frames.Settings, frames.Ack, 0, nil))
				time.Sleep(tt.every)
			}
			if c.Flooded() || len(refused) > 0 {
				t.Errorf("%s: %d are refused", tt.name, len(refused))
			}
		})
	}
}

// DATA that is sent earns WINDOW_UPDATE and PING, but no more than a flood in advance, and none if it is as short as
// only a client wants it that opens its window by a few bytes at a time.
func TestFloods_SentDataEarnsControlFrames(t *testing.T) {
	pair := bytes.Repeat(windowUpdate, 2) // for the stream, and for the connection
	measured := append(slices.Clone(pair), ping...)
	for _, tt := range []struct {
		name    string
		lengths []int  // of the DATA frames, one after the other
		pushed  bool   // each was flushed
		comes   []byte // after each
		flooded bool
	}{
		{"net/http's client, which reads in small pieces", []int{16384}, false, bytes.Repeat(pair, 4), false},
		{"two WINDOW_UPDATE for each KiB, and a PING", []int{4100}, false, append(bytes.Repeat(pair, 4), ping...), false},
		{"two WINDOW_UPDATE for each message, and a PING", []int{100}, false, measured, false},
		{"more than that", []int{100}, false, bytes.Repeat(windowUpdate, 5), true},
		{"SETTINGS", []int{16384}, false, frame(frames.Settings, 0, 0, nil), true},
		{"a window that opens by a byte", []int{1}, false, windowUpdate, true},
		{"a window in pieces, some of them a byte", []int{1, 1, 1, 300}, false, measured, false},
		{"a window in pieces, most of them a byte", []int{1, 1, 1, 1, 1, 1, 1, 100}, false, measured, true},
		{"messages of a few bytes, each of which its handler flushes", []int{13}, true, append(slices.Clone(windowUpdate), ping...), false},
		{"more than that", []int{13}, true, append(bytes.Repeat(windowUpdate, 4), ping...), true},
	} {
		var refused []telemetry.Refusal
		c := New(watch(100_000, &refused))
		var sent [][]byte
		for _, n := range tt.lengths {
			sent = append(sent, frame(frames.Data, 0, 1, make([]byte, n)))
		}
		for i := range 20_000 {
			if tt.pushed {
				c.ExpectNoMore(1)
			}
			c.ReadOutgoing(sent[i%len(sent)])
			c.ReadIncoming(tt.comes)
			c.ReadOutgoing(frame(frames.Ping, frames.Ack, 0, make([]byte, 8)))
		}
		if c.Flooded() != tt.flooded {
			t.Errorf("%s: flooded is %v, want %v", tt.name, c.Flooded(), tt.flooded)
		}
	}
}

// A header earns nothing, however long the DATA before it was, unless it is a whole response.
func TestFloods_AreNotPaidByHeaders(t *testing.T) {
	for _, whole := range []bool{false, true} {
		var refused []telemetry.Refusal
		c := New(watch(100_000, &refused))
		c.ReadOutgoing(frame(frames.Data, 0, 1, make([]byte, 1<<20)))
		flags := byte(frames.EndHeaders)
		if whole {
			flags |= frames.EndStream
		}
		header := frame(frames.Headers, flags, 1, []byte{0x88}) // 200
		for range 20_000 {
			c.ReadOutgoing(header)
			c.ReadIncoming(windowUpdate)
		}
		if c.Flooded() == whole {
			t.Errorf("whole responses %v: flooded is %v", whole, c.Flooded())
		}
	}
}

// What a long download earns is no more than a flood in advance.
func TestFloods_AreNotSavedUpFor(t *testing.T) {
	long, short := frame(frames.Data, 0, 1, make([]byte, 16384)), frame(frames.Data, 0, 1, []byte{1})
	for _, then := range [][]byte{nil, short} {
		var refused []telemetry.Refusal
		c := New(watch(100_000, &refused))
		for range 100_000 {
			c.ReadOutgoing(long)
		}
		for range 3*maxControl + 2*maxShort {
			c.ReadIncoming(windowUpdate)
			c.ReadOutgoing(then)
		}
		if !c.Flooded() {
			t.Errorf("no flood with DATA of %d bytes for each frame", len(then))
		}
	}
}

// A client that never reads its acknowledgements is one that floods, however slowly.
func TestFloods_OfFramesThatNobodyAcknowledges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var refused []telemetry.Refusal
		c := New(watch(100_000, &refused))
		n := 0
		for ; !c.Flooded() && n < 2*maxControl; n++ {
			c.ReadIncoming(ping)
			time.Sleep(time.Second)
		}
		if n != maxControl {
			t.Errorf("a flood after %d PING, want %d", n, maxControl)
		}
	})
}

// The notice names the newest stream, so the client knows which requests were never seen.
func TestConn_CalmNotice(t *testing.T) {
	var refused []telemetry.Refusal
	c := New(watch(100_000, &refused))
	c.ReadIncoming(frame(frames.Headers, frames.EndHeaders|frames.EndStream, 0x10203, []byte(simpleHeader)))
	for range maxControl {
		c.ReadIncoming(ping)
	}
	want := frame(frames.GoAway, 0, 0, []byte{0, 1, 2, 3, 0, 0, 0, 11})
	if got := c.CalmNotice(); !c.Flooded() || !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// A header in several frames is reported when it begins and when it is whole, and a header in one frame is not.
func TestConn_HeaderInParts(t *testing.T) {
	var refused []telemetry.Refusal
	var got []bool
	w := watch(1000, &refused)
	w.Header = func(open bool) { got = append(got, open) }
	c := New(w)
	for _, b := range [][]byte{
		frame(frames.Headers, frames.EndHeaders, 1, []byte(simpleHeader)),
		frame(frames.Headers, 0, 3, []byte(simpleHeader)),
		frame(frames.Continuation, 0, 3, nil),
		frame(frames.Continuation, frames.EndHeaders, 3, nil),
		frame(frames.Headers, frames.EndStream, 1, nil), // a trailer
		frame(frames.Continuation, frames.EndHeaders, 1, nil),
		frame(frames.Headers, 0, 5, []byte(simpleHeader)),
	} {
		c.ReadIncoming(b)
	}
	if want := []bool{true, false, true, false, true}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// What net/http has begun to send is finished before somebody else sends a frame, wherever it was cut.
func TestConn_FinishFrame(t *testing.T) {
	whole := frame(frames.Settings, 0, 0, nil)
	header := append(frame(frames.Headers, 0, 1, []byte(simpleHeader)), frame(frames.Continuation, frames.EndHeaders, 1, []byte("x"))...)
	for _, begun := range [][]byte{frame(frames.Ping, frames.Ack, 0, make([]byte, 8)), header} {
		for cut := range len(begun) {
			var refused []telemetry.Refusal
			c := New(watch(1000, &refused))
			c.ReadOutgoing(whole)
			c.ReadOutgoing(begun[:cut])
			want := len(begun) - cut
			if cut == 0 {
				want = 0 // nothing is begun
			}
			if got := c.FinishFrame(append(slices.Clone(begun[cut:]), whole...)); got != want || !c.MayWrite() {
				t.Errorf("cut at %d of %d: %d bytes finish it, want %d", cut, len(begun), got, want)
			}
		}
	}
}
