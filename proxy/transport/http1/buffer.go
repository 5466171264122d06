package http1

import "sync"

// There are two sizes of buffers. Most headers and small bodies fit the small one. A body that fills it gets a
// large one. An exchange that waits for its backend holds no buffer.
const (
	smallBuffer = 4 << 10
	largeBuffer = 32 << 10
)

// The pools hold pointers to arrays, because to put a slice into a sync.Pool allocates memory for its header.
var (
	smallBuffers = sync.Pool{New: func() any { return new([smallBuffer]byte) }}
	largeBuffers = sync.Pool{New: func() any { return new([largeBuffer]byte) }}
)

func getSmall() []byte { return smallBuffers.Get().(*[smallBuffer]byte)[:] }
func getLarge() []byte { return largeBuffers.Get().(*[largeBuffer]byte)[:] }

// release gives b back to its pool. b must start where its array does. A buffer of another size, which grew for
// an unusually large header, is left to the garbage collector.
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
