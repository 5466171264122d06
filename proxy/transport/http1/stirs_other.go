//go:build !unix

package http1

import "syscall"

// stirs: elsewhere nobody is asked.
func stirs(syscall.RawConn) bool { return false }
