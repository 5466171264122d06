//go:build !unix

package http1

const canReadOnce = false

func (x *exchange) readOnce(uintptr) bool { panic("pace: BUG: a read that this system does not have") }
