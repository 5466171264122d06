package front

import (
	"sync"

	"pace/proxy/front/h2"
)

// maxHeld is how many bytes may wait: those of a frame of the usual size. More of them would not gain much from waiting, and
// have to be copied.
const maxHeld = h2.LargestFrame

// heldBytes are bytes that wait for what follows them. The zero value holds nothing. It is not safe for concurrent use.
type heldBytes struct {
	bytes *[]byte // nil: none
}

// heldArrays are used by one connection after another, since most have nothing to hold most of the time.
var heldArrays = sync.Pool{New: func() any { b := make([]byte, 0, maxHeld); return &b }}

// isEmpty reports whether nothing waits.
func (h *heldBytes) isEmpty() bool { return h.bytes == nil }

// hold keeps b, and reports whether there was room.
func (h *heldBytes) hold(b []byte) bool {
	waiting := 0
	if h.bytes != nil {
		waiting = len(*h.bytes)
	}
	if waiting+len(b) > maxHeld {
		return false
	}
	if h.bytes == nil {
		h.bytes = heldArrays.Get().(*[]byte)
	}
	*h.bytes = append(*h.bytes, b...)
	return true
}

// writeWith has write send what waits, and then b, which may be nil: together if that fits. It returns how much of b was
// written. Nothing waits any more, also if write fails.
func (h *heldBytes) writeWith(b []byte, write func([]byte) (int, error)) (int, error) {
	p := h.bytes
	if p == nil {
		return write(b)
	}
	h.bytes = nil
	defer func() {
		*p = (*p)[:0]
		heldArrays.Put(p)
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
