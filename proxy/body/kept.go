package body

import (
	"bytes"
	"io"
	"sync/atomic"
)

// Room is the memory for all bodies that are kept to be sent again. It is safe for concurrent use.
type Room struct{ left atomic.Int64 }

// NewRoom returns room for so many bytes.
func NewRoom(bytes int64) *Room {
	r := &Room{}
	r.left.Store(bytes)
	return r
}

// take takes n bytes of the room, or returns false if there are not as many.
func (r *Room) take(n int64) bool {
	if r.left.Add(-n) >= 0 {
		return true
	}
	r.left.Add(n)
	return false
}

// kept is what was read of a body, kept so that another attempt can read it again. The goroutine that reads the
// body writes it, under the body's lock.
type kept struct {
	room  *Room
	limit int64 // bytes of room that are taken; 0: the body turned out larger, and is not kept
	read  []byte
	at    int // how much of it the present attempt has read
}

// Keep keeps what is read of b, so that it can be read [Body.Again], if b has at most limit bytes and there is room.
// Call it before anything is read. Release gives the room back.
func (b *Body) Keep(limit int64, room *Room) {
	if b.length >= 0 && b.length <= limit {
		limit = b.length
	} else if b.length > limit {
		return
	}
	if limit > 0 && room.take(limit) {
		b.kept = &kept{room: room, limit: limit}
	}
}

// TakeBack keeps what an attempt has read of b, and has given back unused, unless it is kept already. Nobody reads b
// meanwhile.
func (b *Body) TakeBack(read []byte, room *Room) {
	b.mu.Lock()
	defer b.mu.Unlock()
	size := int64(len(read))
	if b.mayAgain() || b.reading == cut || size != b.Received() || !room.take(size) {
		return
	}
	b.kept = &kept{room: room, limit: size, read: bytes.Clone(read)}
}

// Release lets go of what was kept. Nobody reads b any more. b may be nil.
func (b *Body) Release() {
	if b == nil || b.kept == nil {
		return
	}
	b.kept.drop()
	b.kept = nil
}

func (r *kept) drop() {
	r.room.left.Add(r.limit)
	r.limit, r.read = 0, nil
}

// keep keeps a piece that was read, if b is kept. What does not fit ends that.
func (b *Body) keep(p []byte) {
	r := b.kept
	if r == nil || r.limit == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if int64(len(r.read)+len(p)) > r.limit {
		r.drop()
		return
	}
	r.read = append(r.read, p...)
	r.at = len(r.read)
}

// MayAgain reports whether the body can be made ready for another attempt: all that was read of it was kept, if
// anything was, and the rest can be read. A Read may change that, so it is sure only while nobody reads.
func (b *Body) MayAgain() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mayAgain()
}

func (b *Body) mayAgain() bool {
	return b.reading != cut && (b.Received() == 0 || b.kept != nil && b.kept.limit > 0)
}

// readAgain reads what was kept. It returns false if the present attempt has read all of that.
func (b *Body) readAgain(p []byte) (n int, err error, ok bool) {
	r := b.kept
	if r == nil {
		return 0, nil, false
	}
	if r.at < len(r.read) {
		n = copy(p, r.read[r.at:])
		r.at += n
		return n, nil, true
	}
	if b.Whole() {
		return 0, io.EOF, true
	}
	return 0, nil, false
}
