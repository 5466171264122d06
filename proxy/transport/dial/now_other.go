//go:build !unix

package dial

// CanLook is false where a connection cannot be read without waiting for it. What needs that is then never called.
const CanLook = false

type once struct{}

func (o *once) init() {}

func (w *wire) readNow([]byte) (int, error) {
	panic("pace: BUG: a read that this system does not have")
}
func (w *wire) writeNow([]byte) (int, error) {
	panic("pace: BUG: a write that this system does not have")
}
