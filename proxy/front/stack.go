package front

// enoughStack is the size of the stack that a request or a handshake needs, at most; a deeper one grows once
// more.
const enoughStack = 12 << 10

// growStack makes the stack of the calling goroutine large enough for a request or a handshake. Each connection
// has a goroutine of its own, and over HTTP/2 each request, which begins with a small stack. Without this the
// stack doubles two or three times deep in the calls, and each time the runtime copies it frame by frame: that
// was an eighth of pace's CPU for a request over HTTP/2, and a fiftieth for a handshake. Here there is little
// to copy. never must be false: the frame counts although it is never filled.
//
//go:noinline
func growStack(never bool) (sum byte) {
	if never {
		var room [enoughStack]byte
		for i := range room {
			room[i] = byte(i) ^ sum
			sum += room[(i*7)%enoughStack]
		}
	}
	return sum
}
