//go:build !unix

package pipe

import "net"

// AwaitReadable does not wait on this system. So a silent stream holds its buffer here.
func AwaitReadable(net.Conn) error { return nil }
