//go:build !unix

package http1

const canPoll = false

func (x *exchange) writeThenRead(uintptr) bool {
	panic("pace: BUG: a write that this system does not have")
}

func (x *exchange) readOnce(uintptr) bool {
	panic("pace: BUG: a read that this system does not have")
}

func (c *conn) look(uintptr) { panic("pace: BUG: a look that this system does not have") }
