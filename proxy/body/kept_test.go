package body

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

// TestKept_EachAttemptReadsTheSame: attempts read pieces of any size, and give up anywhere. Each that may be made
// reads the body from its beginning, to the byte, and the client is asked for each byte once.
func TestKept_EachAttemptReadsTheSame(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(5, 14))
	again, over := 0, 0
	for range 2000 {
		whole := make([]byte, random.IntN(60))
		for i := range whole {
			whole[i] = byte(random.IntN(256))
		}
		room := NewRoom(1000)
		b, _ := bodyOf(t.Context(), iotest.HalfReader(bytes.NewReader(whole)), 0, 0)
		b.Keep(40, room)
		for attempt := range 4 {
			if attempt > 0 && !b.Again() {
				if b.Received() <= 40 {
					t.Fatalf("%d bytes were read, and the next attempt has no body", b.Received())
				}
				over++
				break
			}
			again++
			var got []byte
			for stop := random.IntN(80); len(got) < stop; {
				p := make([]byte, 1+random.IntN(20))
				n, err := b.Read(p)
				got = append(got, p[:n]...)
				if err == io.EOF {
					if len(got) != len(whole) {
						t.Fatalf("attempt %d ended after %d bytes of %d", attempt, len(got), len(whole))
					}
					break
				}
			}
			if !bytes.HasPrefix(whole, got) {
				t.Fatalf("attempt %d read %x of %x", attempt, got, whole)
			}
			if int(b.Received()) < len(got) || int(b.Received()) > len(whole) {
				t.Fatalf("%d bytes came from the client, of %d, and %d were read", b.Received(), len(whole), len(got))
			}
		}
		if b.Release(); room.left.Load() != 1000 {
			t.Fatalf("%d bytes of room are left, want all", room.left.Load())
		}
	}
	if again < 4000 || over < 100 {
		t.Errorf("%d attempts and %d bodies that were too large: the schedule shows nothing", again, over)
	}
}

func TestKeep_OnlyWhatHasRoom(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name      string
		length    int64
		limit     int64
		room      int64
		want      bool
		roomTaken int64
	}{
		{"a body of known length takes as much", 4, 10, 100, true, 4},
		{"one of unknown length takes the limit", -1, 10, 100, true, 10},
		{"one that is announced as larger is not kept", 11, 10, 100, false, 0},
		{"one of the limit is", 10, 10, 100, true, 10},
		{"none is kept without a limit", -1, 0, 100, false, 0},
		{"none is kept without room", 10, 10, 9, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			room := NewRoom(tt.room)
			b, _ := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
			b.length = tt.length
			b.Keep(tt.limit, room)
			if taken := tt.room - room.left.Load(); taken != tt.roomTaken {
				t.Errorf("%d bytes of room are taken, want %d", taken, tt.roomTaken)
			}
			b.Read(make([]byte, 2))
			if got := b.Again(); got != tt.want {
				t.Errorf("it can be read again: %v, want %v", got, tt.want)
			}
			b.Release()
			b.Release()
			if room.left.Load() != tt.room {
				t.Errorf("%d bytes of room are left, want %d", room.left.Load(), tt.room)
			}
		})
	}
}

// A Read that was cut short ends the body, also one that is kept: the rest of it will not come.
func TestKept_NotOfABodyThatWasCut(t *testing.T) {
	t.Parallel()
	b, _ := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
	b.Keep(100, NewRoom(100))
	b.Read(make([]byte, 2))
	b.become(cut)
	if b.Again() {
		t.Error("the rest of it is lost, and it can be sent again")
	}
}

// What was kept needs nothing more of the client.
func TestReady_WhatWasKept(t *testing.T) {
	b, _ := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
	b.Keep(100, NewRoom(100))
	io.ReadAll(b)
	b.Stop()
	if !b.Again() || !b.Ready() {
		t.Error("a body that was kept is not ready")
	}
}

// Whether more is there is asked while others wait for the answer. The client may take its time for an interim response.
func TestReady_DoesNotWaitForTheClient(t *testing.T) {
	t.Parallel()
	b, _ := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
	writing, taken := make(chan struct{}), make(chan struct{})
	defer close(taken)
	go b.Interim(103, func() { close(writing); <-taken })
	<-writing
	ready := make(chan bool, 1)
	go func() { ready <- b.Ready() }()
	select {
	case is := <-ready:
		if is {
			t.Error("more is there, it says")
		}
	case <-time.After(5 * time.Second):
		t.Error("it waits for the client")
	}
}

// What an attempt gives back is read again, and then the rest. That needs room, as all that is kept does.
func TestTakeBack(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		read int // of the five bytes
		room int64
		want bool
	}{
		"whole": {5, 5, true}, "a part": {3, 3, true}, "no room": {5, 4, false},
	} {
		room := NewRoom(tt.room)
		b, _ := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
		piece := make([]byte, tt.read)
		for attempt := range 2 {
			io.ReadFull(b, piece)
			b.TakeBack(piece, room)
			if b.MayAgain() != tt.want || b.Again() != tt.want || string(piece) != "hello"[:tt.read] {
				t.Errorf("%s: attempt %d: again %v, %q", name, attempt, b.MayAgain(), piece)
			}
		}
		if rest, err := io.ReadAll(b); tt.want && (string(rest) != "hello" || err != nil) {
			t.Errorf("%s: %q, %v", name, rest, err)
		}
		if b.Release(); room.left.Load() != tt.room {
			t.Errorf("%s: %d bytes of room are left", name, room.left.Load())
		}
	}
}
