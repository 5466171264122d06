//go:build !linux

package front

import "net"

// shutDoor: elsewhere a listener takes connections until it is closed.
func shutDoor(*net.TCPListener) {}

// queued: elsewhere nobody is asked.
func queued(*net.TCPListener) int { return 0 }
