package pacetest

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"pace/e2e/port"
)

// Blackhole is an address that answers no SYN: a listening socket whose queue is full.
type Blackhole struct{ addr string }

// NewBlackhole makes one that lasts as long as t.
func NewBlackhole(t testing.TB) *Blackhole {
	t.Helper()
	fd, addr := port.Reserve(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	h := &Blackhole{addr}
	for { // until a dial gets no answer
		c, err := net.DialTimeout("tcp", h.addr, 200*time.Millisecond)
		if err != nil {
			return h
		}
		t.Cleanup(func() { c.Close() })
	}
}

// Address returns its host:port.
func (h *Blackhole) Address() string { return h.addr }
