//go:build !unix

package pipe

import "net"

// AwaitReadable: a silent stream holds its buffer here.
func AwaitReadable(net.Conn) error { return nil }
