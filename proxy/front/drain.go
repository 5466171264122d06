package front

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	handshakes   = 50 * time.Millisecond  // how long clients that have begun a connection may take to establish it
	emptying     = time.Second            // longest wait until the accept queue is empty; without descriptors it never is
	hearing      = time.Second            // longest wait for a connection's first request, which may be two round trips away over TLS; what comes on an open one is served for as long
	abortGrace   = 500 * time.Millisecond // how long the response to an aborted request may take to reach its client
	abortTimeout = 5 * time.Second        // bounds the wait for handlers whose connections are closed already
)

// ErrAborted is the cause that ends the context of a request when draining has taken too long.
var ErrAborted = errors.New("pace ends")

// AbortedError reports that a drain had to abort requests.
type AbortedError struct {
	Requests int64 // those that were aborted, streams included
	Cause    error // what ended the drain's context
}

func (e *AbortedError) Error() string {
	return fmt.Sprintf("aborted %d requests: %v", e.Requests, e.Cause)
}
func (e *AbortedError) Unwrap() error { return e.Cause }

// Drain accepts no more connections and waits until the requests in flight, streams included, have ended. If
// ctx ends first, it aborts the rest and returns an [*AbortedError]. Either way every record is closed when it
// returns. A request that still comes on an open connection is served for a second, since its client may not know
// yet; then it gets a response with the outcome draining. net/http's Shutdown would drop it without a response, so
// that comes last.
func (s *Server) Drain(ctx context.Context) error {
	defer s.ended()
	s.stopAccepting(ctx)
	defer s.quic.close()
	for ctx.Err() == nil {
		quiet(ctx, s.InFlight.Count)
		quiet(ctx, s.quic.open) // these close when their clients have got the last response
		err := s.generations.shutdown(ctx)
		if err == nil && s.InFlight.Count() == 0 { // a request may have become a stream meanwhile
			return nil
		}
	}
	return s.abort(ctx)
}

// stopAccepting closes the listeners once their queues are empty, asks the clients of HTTP/2 and HTTP/3 to send no more on
// their connections, and closes idle connections.
func (s *Server) stopAccepting(ctx context.Context) {
	open := s.listeners.stop()
	if ctx.Err() == nil {
		var emptying sync.WaitGroup
		for _, l := range open {
			emptying.Go(l.empty)
		}
		emptying.Wait()
	}
	s.InFlight.draining.Store(true)
	time.AfterFunc(hearing, func() { s.late.Store(true) })
	s.quic.goodbye()
	for _, l := range open {
		l.Close()
	}
	for _, l := range open {
		l.awaitOver()
		s.multiplexed.goodbye(l)
	}
	for _, g := range s.generations.all() {
		g.http.SetKeepAlivesEnabled(false) // closes the idle ones
	}
	hearing, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	quiet(hearing, s.newcomers.Load)
}

// abort ends the requests in flight. Those without a response get one that says so. Then all connections are
// closed.
func (s *Server) abort(ctx context.Context) error {
	cause := context.Cause(ctx)
	aborted := s.InFlight.Count()
	s.abortRequests(ErrAborted)
	s.InFlight.abort()
	ctx = context.WithoutCancel(ctx)
	grace, cancel := context.WithTimeout(ctx, abortGrace)
	defer cancel()
	quiet(grace, s.InFlight.Count)
	s.generations.shutdown(grace)
	for _, g := range s.generations.all() {
		g.http.Close()
	}
	s.quic.close()
	last, cancel := context.WithTimeout(ctx, abortTimeout)
	defer cancel()
	quiet(last, s.InFlight.Count)
	if aborted == 0 {
		return nil
	}
	return &AbortedError{aborted, cause}
}

// quiet returns when count is 0, or ctx ends.
func quiet(ctx context.Context, count func() int64) {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for count() > 0 && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
		}
	}
}
