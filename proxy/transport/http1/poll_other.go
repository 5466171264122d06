//go:build !unix

package http1

import "syscall"

// canPoll is false where a file descriptor cannot be used in turns with the runtime's poller. The functions
// that need it are then never called.
const canPoll = false

func (x *exchange) writeThenRead(uintptr) bool {
	panic("pace: BUG: a write that this system does not have")
}

func (x *exchange) readOnce(uintptr) bool {
	panic("pace: BUG: a read that this system does not have")
}

func (c *conn) look(uintptr) { panic("pace: BUG: a look that this system does not have") }

// stirs returns false, since this system cannot be asked.
func stirs(syscall.RawConn) bool { return false }
