// Package http1 sends one HTTP/1.1 request to one backend and reads its response, over pooled connections. No
// connection has a goroutine of its own: the caller's goroutine writes and reads. Only if the request has a
// body, a second goroutine, the sender, runs until the body is sent.
//
// It promises that one [Pool.Do] puts at most one request on the wire, that a connection about which anything
// is unclear is never used again, and that it never reads a response differently from net/http (it may be
// stricter). Package parse, below it, reads the bytes of a response. This package must not know other packages
// of pace than those that all transports share.
//
// # The states of an exchange
//
// A [transport.Response] has an exchange. The states of an exchange are the phases of package transport, in parentheses
// here. These functions lead from one to the next:
//
//	            Do
//	            │
//	         connect ───── no connection is idle ────▶ dial.Dialer.Dial (Connect, TLS)
//	            │                                                    │
//	            ├───────────────────────◀────────────────────────────┘
//	            │
//	  ┌─────────┴────────┬──────────────────────────┐
//	  │ no body,         │ no body,                 │ a body
//	  │ pooled, TCP      │ otherwise                │
//	  ▼                  ▼                          ▼
//	writeThenWait    sendHead                 startSending ─ ─ ─ ▶ the sender: send
//	  │ (Send)           │ (Send)                   │              (Send, ReadRequest)
//	  └─────────┬────────┴──────────────────────────┘                     ╷
//	            ▼                                                         ╷
//	        awaitFinal (Wait) ◀──┐                                        ╷
//	            │  └─ interim ───┘ 1xx                                    ╷
//	            ▼                                                         ╷
//	    finish or switched: settle (Receive), and Do returns              ╷
//	            │                                                         ╷
//	    Next, Next, … or Splice, or Hijack                                ╷
//	            ▼                                                         ╷
//	          Close ◀─ ─ ─ ─ ─ waits for the sender ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
//	            │
//	            ├── reusable: the connection goes back to the pool
//	            └── otherwise: it is closed
//
// From every state, fail leads to Close: it notes why the exchange ended, and wakes each goroutine that is
// blocked on the connection. Only the first failure counts. The sending of the request has states of its own,
// which the comment of the type sending draws.
//
// # Which goroutine may touch which field
//
// Do's goroutine is the one that calls Do, Next and Close. Three others may run concurrently: the sender (only
// with a body), the head timer's (while the sender waits for the body's first piece), and the context's (which
// calls end). Close waits for the three (exchange.running) before it reads anything without a lock. The pool's
// watcher touches only watched, running and ctx.
//
//	field of exchange       may be touched by                       guarded by
//	ctx, pool, req          all read; Do and Close write            no other goroutine runs then
//	head, in, polled        Do's goroutine                          nothing, it is alone
//	progress                Do's goroutine                          nothing, it is alone
//	Course, shared          all                                     Mu
//	shared.c                all read under Mu; Do's goroutine       Mu, and out.first: Do's
//	                        writes, and the sender until            goroutine lets it be until
//	                        its first write is over                 the first write is over
//	shared.responded        Do's goroutine writes under Mu, and     Mu for all others
//	                        alone may read without
//	watched                 Do's goroutine, the pool's watcher      watcher.mu
//
//	field of outgoing       may be touched by                       guarded by
//	buf, from, to, reading  with a body: sender and head timer      out.mu
//	                        without: Do's goroutine                 nothing, it is alone
//	left, ended, full       the sender; the head timer reads ended  out.mu while the timer may run
//	state                   the goroutine that sends writes it,     atomic
//	                        all read it
//	first                   sender and head timer close it          Mu
//	goAhead                 Do's goroutine and fail send into it    a channel of one
//	done                    the sender closes it, Do's waits        a channel
//
// Locks are taken in the order out.mu, then Mu. No goroutine waits for the network while it holds Mu. The
// sender and the head timer hold out.mu while they write.
package http1

import (
	"cmp"
	"context"
	"crypto/tls"
	"net"
	"time"
)

// Options configures a Pool; the zero value works.
type Options struct {
	ConnectTimeout  time.Duration // with the handshake of TLS; 0: 1 s
	BodyTimeout     time.Duration // of responses; 0: no limit
	ResponseTimeout time.Duration // from the request's last byte to the whole response header; also of one write that makes no progress; 0: 30 s
	MaxIdle         int           // idle connections kept; 0: 512
	IdleTimeout     time.Duration // how long each is kept; 0: 60 s
	MaxHeaderBytes  int           // of a response's header, of each interim one, and of its trailer; 0: 64 KiB

	TLS *tls.Config // as in [dial.Options]; nil: none

	Dial func(ctx context.Context, network, addr string) (net.Conn, error) // nil: a net.Dialer's
}

func (o Options) withDefaults() Options {
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, time.Second)
	o.ResponseTimeout = cmp.Or(o.ResponseTimeout, 30*time.Second)
	o.MaxIdle = cmp.Or(o.MaxIdle, 512)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, time.Minute)
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, 64<<10)
	return o
}
