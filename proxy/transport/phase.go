package transport

// Phase is what an attempt is doing. An attempt begins in no phase (0), and its transport reports each change
// to [Request.OnPhase]. At each instant an attempt is in exactly one phase, so the phases add up to the time
// that the attempt took.
//
//	        new connection
//	begin ──▶ DNS ──▶ Connect ──▶ TLS ──▶ Send ──▶ Wait ──▶ Receive
//	  │   (an unknown name)  └──────────▶ ▲ ▲ │     (the final header is there)
//	  └── pooled connection ──────────────┘ │ ▼
//	                                   ReadRequest
type Phase uint8

const (
	DNS         Phase = iota + 1 // resolving the backend's name, before the transport is called
	Connect                      // connecting
	TLS                          // making the TLS handshake
	Send                         // writing to the backend
	ReadRequest                  // waiting for Body.Read: for the client
	Wait                         // for the backend: all is sent, or its 100 is due
	Receive                      // the final header was parsed; never reported to OnPhase
)

var phases = [...]string{"begin", "dns", "connect", "tls", "send", "read_request", "wait", "receive"}

func (p Phase) String() string { return phases[p] }
