package front

// enoughStack is the size of the stack that a request needs, at most; a deeper one grows once more.
const enoughStack = 12 << 10

// growStack makes the stack of the calling goroutine large enough for a request. Over HTTP/2 each request has a
// goroutine of its own, which begins with a small stack. Without this the stack doubles two or three times deep
// in the walk, and each time the runtime copies it frame by frame: that was an eighth of pace's CPU. Here
// there is little to copy. never must be false: the frame counts although it is never filled.
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
