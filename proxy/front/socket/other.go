//go:build !linux

package socket

import (
	"net"
	"os"
	"syscall"
)

// IgnoreNew does nothing: the listener takes connections until it is closed.
func IgnoreNew(*net.TCPListener) {}

// Queued returns 0.
func Queued(*net.TCPListener) int { return 0 }

// Unread returns 0.
func Unread(syscall.RawConn) int { return 0 }

// Unacked returns 0.
func Unacked(*net.TCPConn) int { return 0 }

// ReadFrom reads nothing.
func ReadFrom(syscall.RawConn, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// WriteTo writes nothing.
func WriteTo(syscall.RawConn, []byte) (int, error) { return 0, os.ErrDeadlineExceeded }
