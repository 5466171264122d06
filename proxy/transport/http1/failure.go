package http1

import (
	"fmt"
	"net/netip"
)

// Kind is what became of an exchange that failed. It names the side: RequestBody is the
// client's, Canceled the caller's, Exhausted ours, all others the backend's.
type Kind uint8

const (
	ConnectFailed   Kind = iota + 1 // no connection: refused, unreachable
	ConnectTimeout                  // no connection within [Options.ConnectTimeout]
	DNSFailed                       // the backend's name could not be resolved, or not in time
	Exhausted                       // this machine lacked a descriptor, a port or memory for a connection
	ResponseTimeout                 // no whole response header in time, or a write that blocked as long
	Reset                           // connection lost before the response header was whole
	Invalid                         // what came was not an acceptable HTTP/1 response header
	HeaderTooLarge                  // the response header is over [Options.MaxHeaderBytes], or the interim ones are too large in sum
	Truncated                       // the body broke off or was malformed; the header was fine
	RequestBody                     // reading Body failed, it did not keep its length, or the request is unfit to be written
	Canceled                        // ctx ended
	Panicked                        // there is a bug beside Do's goroutine, as in Body.Read: Do and Next panic with it, and Close returns it
)

var kinds = [...]string{
	ConnectFailed: "connect failed", ConnectTimeout: "connect timeout", DNSFailed: "name not resolved", Exhausted: "out of resources", ResponseTimeout: "response timeout",
	Reset: "connection lost", Invalid: "invalid response", HeaderTooLarge: "response header too large", Truncated: "response truncated",
	RequestBody: "request body", Canceled: "canceled", Panicked: "panicked",
}

func (k Kind) String() string { return kinds[k] }

// Phase is what an exchange is doing. It begins in none; each change is told to [Request.OnPhase].
type Phase uint8

const (
	DNS         Phase = iota + 1 // resolving the backend's name; never entered for an address
	Connect                      // dialing
	Send                         // writing to the backend
	ReadRequest                  // waiting for Body.Read, the client's side
	Wait                         // all is sent (or the backend's 100 is due): the backend's turn
	Receive                      // the final header was parsed; never told to OnPhase
)

var phases = [...]string{"begin", "dns", "connect", "send", "read_request", "wait", "receive"}

func (p Phase) String() string { return phases[p] }

// Error is the only type of error that Do and Next return (io.EOF of Next aside).
type Error struct {
	Kind      Kind
	Phase     Phase          // when it happened
	BytesSent int64          // bytes of the request that the kernel took; 0: certainly nothing was sent
	Reused    bool           // the connection came from the pool
	Answered  bool           // any byte of a response was read; a 408 about the idle connection is none
	Remote    netip.AddrPort // of the connection; zero if there was none
	Err       error
}

func (e *Error) Error() string { return fmt.Sprintf("%v in %v: %v", e.Kind, e.Phase, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// raise returns err, the end of the exchange, unless that is a panic.
func (x *exchange) raise(err error) error {
	if bug := x.bug(); bug != nil {
		panic(bug)
	}
	return err
}

// bug returns the panic that ended the exchange, once.
func (x *exchange) bug() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.cause == nil || x.cause.Kind != Panicked || x.told {
		return nil
	}
	x.told = true
	return x.cause.Err
}
