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
	Responded bool           // a byte of a response was read; a 408 about the idle connection does not count
	Remote    netip.AddrPort // of the connection; zero if there was none
	Version   string         // of HTTP on the connection, "2"; "": 1.1, or there was no connection
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%v in %v: %v", e.Kind, e.Phase, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Kind is what ended an attempt that failed.
type Kind uint8

const (
	ConnectFailed   Kind = iota + 1 // no connection: refused, unreachable
	ConnectTimeout                  // no connection in time
	TLSFailed                       // the TLS handshake with the backend failed
	BadCertificate                  // it failed because the backend's certificate does not verify
	DNSFailed                       // the backend's name could not be resolved, or not in time
	Exhausted                       // this machine had no descriptor, port or memory for a connection
	Full                            // the backend has as many connections or requests as it may; nothing was sent
	ResponseTimeout                 // no whole response header in time, or a write that blocked for as long
	Reset                           // connection lost before the response header was whole
	Invalid                         // what came was not an acceptable response header
	HeaderTooLarge                  // the response header is over the limit, or the interim ones are in sum
	Truncated                       // the body ended early or was malformed; the header was fine
	Stalled                         // no byte of the body in time; the header was fine
	RequestBody                     // reading Body failed, it had another length than announced, or the request cannot be written
	Canceled                        // the caller's context ended
	RefusedStream                   // the backend has reset the stream with REFUSED_STREAM: it has not processed the request
	GoAway                          // the backend ends the connection, and says that it has not processed the request
	Panicked                        // a panic on a goroutine of the transport, as in Body.Read; Do, Next or Close passes it on
)

// kinds has a row for each Kind.
var kinds = [...]struct {
	words string
	side  Side
}{
	ConnectFailed:   {"connect failed", Backend},
	ConnectTimeout:  {"connect timeout", Backend},
	TLSFailed:       {"TLS handshake failed", Backend},
	BadCertificate:  {"certificate does not verify", Backend},
	DNSFailed:       {"name not resolved", Backend},
	Exhausted:       {"out of resources", Pace},
	Full:            {"no room at the backend", Pace},
	ResponseTimeout: {"response timeout", Backend},
	Reset:           {"connection lost", Backend},
	Invalid:         {"invalid response", Backend},
	HeaderTooLarge:  {"response header too large", Backend},
	Truncated:       {"response truncated", Backend},
	Stalled:         {"response stalled", Backend},
	RequestBody:     {"request body", Caller},
	Canceled:        {"canceled", Caller},
	RefusedStream:   {"stream refused", Backend},
	GoAway:          {"connection ended by GOAWAY", Backend},
	Panicked:        {"panicked", Pace},
}

func (k Kind) String() string { return kinds[k].words }

// Side returns who caused a failure of this kind.
func (k Kind) Side() Side { return kinds[k].side }

// NotProcessed reports whether the backend says that it has not processed the request, and never will (RFC 9113 §8.7). It
// may be sent again, whatever its method is and however much of it was sent.
func (k Kind) NotProcessed() bool { return k == RefusedStream || k == GoAway }

// Side is who caused a failure.
type Side uint8

const (
	Backend Side = iota + 1
	Caller       // the code that made the attempt or gave its body: for it, the client or a drain
	Pace         // this process, or its machine
)

// ErrUnfit is the error, of kind RequestBody, for a request whose header HTTP/2 cannot carry, or that is larger than the
// backend takes. Nothing was sent, and its body is not to blame.
var ErrUnfit = NewFault("the header is larger than the backend takes, or has something that HTTP/2 cannot carry")

// fault is an error whose whole text is in the source of pace.
type fault struct{ text string }

func (f *fault) Error() string { return f.text }

// NewFault returns an error with a text of pace's own. Nothing in it came over the wire, so [Error.Words] may
// show it. Each call returns a new error, which errors.Is distinguishes from all others, as with errors.New.
func NewFault(text string) error { return &fault{text} }
