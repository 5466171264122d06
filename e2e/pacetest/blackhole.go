package pacetest

import (
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"pace/e2e/port"
)

// Blackhole is an address that does not respond to a SYN: a listening socket whose queue is full.
type Blackhole struct {
	t    testing.TB
	fd   int
	addr string
}

// NewBlackhole makes one that lasts as long as t.
func NewBlackhole(t testing.TB) *Blackhole {
	t.Helper()
	fd, addr := port.Reserve(t)
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(os.NewSyscallError("listen", err))
	}
	h := &Blackhole{t, fd, addr}
	for { // until a dial gets no response
		c, err := net.DialTimeout("tcp", h.addr, 200*time.Millisecond)
		if err != nil {
			return h
		}
		t.Cleanup(func() { c.Close() })
	}
}

// Address returns its host:port.
func (h *Blackhole) Address() string { return h.addr }

// Open makes room in the queue, so that the next SYN gets a SYN-ACK. It serves no request.
func (h *Blackhole) Open() {
	h.t.Helper()
	if err := syscall.Listen(h.fd, 100); err != nil {
		h.t.Fatal(os.NewSyscallError("listen", err))
	}
}
