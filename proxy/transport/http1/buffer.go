package http1

import "sync"

// Two sizes: most heads and small bodies fit the small one; a body that fills it moves to the
// large one. An exchange that waits for its backend holds neither.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

// Pointers to arrays, because putting a slice into a sync.Pool allocates its header.
var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func getSmall() []byte { return smallBuffers.Get().(*[smallBuffer]byte)[:] }
func getLarge() []byte { return largeBuffers.Get().(*[largeBuffer]byte)[:] }

// release gives b back, which must start where its array does. Buffers of other sizes,
// grown for an unusual head, are left to the collector.
func release(b []byte) {
	switch cap(b) {
	case smallBuffer:
		smallBuffers.Put((*[smallBuffer]byte)(b[:smallBuffer]))
	case largeBuffer:
		largeBuffers.Put((*[largeBuffer]byte)(b[:largeBuffer]))
	}
}

// grown returns a larger buffer with data at its start, and releases b.
func grown(b, data []byte) []byte {
	var to []byte
	if len(b) < largeBuffer {
		to = getLarge()
	} else {
		to = make([]byte, 2*len(b))
	}
	copy(to, data)
	release(b)
	return to
}
