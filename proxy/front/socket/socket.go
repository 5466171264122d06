// Package socket asks the kernel about a client's connection or a listener what package net does not tell. On
// other systems than Linux each question has the response that changes nothing. It must not know HTTP, nor
// any other package of pace.
package socket

import (
	"net"
	"syscall"
	"time"
)

// Conn is a connection over TCP or over a socket in the file system: [net.TCPConn] or [net.UnixConn].
type Conn interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}

// Listener is a listener of either kind: [net.TCPListener] or [net.UnixListener].
type Listener interface {
	net.Listener
	syscall.Conn
	SetDeadline(time.Time) error
}
