package transport

import (
	"fmt"
	"net/netip"
)

// Error is the only type of error that a transport returns (except io.EOF at the end of a body).
type Error struct {
	Kind      Kind
	Phase     Phase          // when it happened
	BytesSent int64          // bytes of the request that the kernel took; 0: certainly nothing was sent
	Reused    bool           // the connection came from the pool
	Answered  bool           // a byte of a response was read; a 408 about the idle connection does not count
	Remote    netip.AddrPort // of the connection; zero if there was none
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%v in %v: %v", e.Kind, e.Phase, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Kind is what ended an attempt that failed.
type Kind uint8

const (
	ConnectFailed   Kind = iota + 1 // no connection: refused, unreachable
	ConnectTimeout                  // no connection in time
	DNSFailed                       // the backend's name could not be resolved, or not in time
	Exhausted                       // this machine lacked a descriptor, a port or memory for a connection
	ResponseTimeout                 // no whole response header in time, or a write that blocked for as long
	Reset                           // connection lost before the response header was whole
	Invalid                         // what came was not an acceptable response header
	HeaderTooLarge                  // the response header is over the limit, or the interim ones are in sum
	Truncated                       // the body broke off or was malformed; the header was fine
	RequestBody                     // reading Body failed, it did not keep its length, or the request is not fit to be written
	Canceled                        // the caller's context ended
	Panicked                        // a bug on a goroutine of the transport, as in Body.Read; its calls pass the panic on
)

// kinds has a row for each Kind.
var kinds = [...]struct {
	words string
	side  Side
}{
	ConnectFailed:   {"connect failed", Backend},
	ConnectTimeout:  {"connect timeout", Backend},
	DNSFailed:       {"name not resolved", Backend},
	Exhausted:       {"out of resources", Pace},
	ResponseTimeout: {"response timeout", Backend},
	Reset:           {"connection lost", Backend},
	Invalid:         {"invalid response", Backend},
	HeaderTooLarge:  {"response header too large", Backend},
	Truncated:       {"response truncated", Backend},
	RequestBody:     {"request body", Caller},
	Canceled:        {"canceled", Caller},
	Panicked:        {"panicked", Pace},
}

func (k Kind) String() string { return kinds[k].words }

// Side returns who caused a failure of this kind.
func (k Kind) Side() Side { return kinds[k].side }

// Side is who caused a failure.
type Side uint8

const (
	Backend Side = iota + 1
	Caller       // who asked for the attempt, or gave its body: the client in the end, or a drain
	Pace         // this process, or its machine
)

// fault is an error whose whole text stands in the source of pace.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

// NewFault returns an error with a text of pace's own: nothing in it came over the wire, so [Error.Words]
// may show it. Each call returns another error, so errors.Is can tell them apart, as with errors.New.
func NewFault(text string) error { return &fault{text} }
