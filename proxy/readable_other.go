//go:build !unix

package proxy

import "net"

// awaitReadable: a silent stream holds its buffer here.
func awaitReadable(net.Conn) error { return nil }
