//go:build !linux

package socket

import (
	"net"
	"os"
	"syscall"
)

// IgnoreNew does nothing: the listener takes connections until it is closed.
func IgnoreNew(*net.TCPListener) {}

// Queued reports that none waits.
func Queued(syscall.Conn) bool { return false }

// Unread returns 0.
func Unread(syscall.RawConn) int { return 0 }

// Unacked returns 0.
func Unacked(syscall.Conn) int { return 0 }

// ReadFrom reads nothing.
func ReadFrom(syscall.RawConn, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// WriteTo writes nothing.
func WriteTo(syscall.RawConn, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// SetMode does nothing.
func SetMode(uintptr, uint32) {}
