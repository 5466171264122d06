package pacetest

import (
	"testing"

	"pace/e2e/port"
)

// Closed is an address that refuses connections. The kernel gives its port to no other process while the
// test runs, but a process that asks for it by number may listen there.
type Closed struct{ addr string }

// NewClosed finds one.
func NewClosed(t testing.TB) *Closed {
	t.Helper()
	_, addr := port.Reserve(t)
	return &Closed{addr}
}

// Address returns its host:port.
func (c *Closed) Address() string { return c.addr }

// Port returns its port.
func (c *Closed) Port() int { return port.Of(c.addr) }
