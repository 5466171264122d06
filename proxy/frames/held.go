package frames

import "sync"

// MaxHeld is how many bytes [Held] has room for: those of a frame of the usual size. More of them would not gain much from
// waiting, and have to be copied.
const MaxHeld = 16 << 10

// Held are bytes that wait, so that they go out in one write with what follows them and, over TLS, in one record. The zero
// value holds nothing. It is not safe for concurrent use.
type Held struct {
	bytes *[]byte // nil: none
}

// heldBytes are used by one connection after another, since most have nothing to hold most of the time.
var heldBytes = sync.Pool{New: func() any { b := make([]byte, 0, MaxHeld); return &b }}

// Empty reports whether nothing waits.
func (h *Held) Empty() bool { return h.bytes == nil }

// Hold keeps b, and reports whether there was room.
func (h *Held) Hold(b []byte) bool {
	waiting := 0
	if h.bytes != nil {
		waiting = len(*h.bytes)
	}
	if waiting+len(b) > MaxHeld {
		return false
	}
	if h.bytes == nil {
		h.bytes = heldBytes.Get().(*[]byte)
	}
	*h.bytes = append(*h.bytes, b...)
	return true
}

// WriteWith has write send what waits, and then b, which may be nil: together if that fits. It returns how much of b was
// written. Nothing waits any more, also if write fails.
func (h *Held) WriteWith(b []byte, write func([]byte) (int, error)) (int, error) {
	p := h.bytes
	if p == nil {
		return write(b)
	}
	h.bytes = nil
	defer func() {
		*p = (*p)[:0]
		heldBytes.Put(p)
	}()
	waited := len(*p)
	if waited+len(b) <= cap(*p) {
		n, err := write(append(*p, b...))
		return max(n-waited, 0), err
	}
	if _, err := write(*p); err != nil {
		return 0, err
	}
	return write(b)
}
