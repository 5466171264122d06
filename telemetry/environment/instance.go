package environment

import (
	"crypto/rand"
	"fmt"
)

// newInstanceID returns a random UUID (RFC 9562 §5.4), which distinguishes this process from all others, as the
// semantic conventions require.
func newInstanceID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
