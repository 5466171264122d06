package body

import (
	"io"
	"net/http"
	"time"

	"pace/proxy/front"
)

// AllowEarlyResponse has net/http accept that a response begins before the body has come to its end.
func (b *Body) AllowEarlyResponse() {
	if b.http1 {
		b.control.EnableFullDuplex()
	}
}

// Stop ends a Read in progress: the attempt is over, and the rest of the body of no use to it. A
// client that is sending gets the moment in which its next bytes arrive, since a chunked body whose
// Read failed cannot be read on, and its connection would be reset before the response is read.
func (b *Body) Stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading == open {
		b.reading = stopping
	}
	b.left, b.until = b.ctx.Err() != nil, time.Now()
	if b.http1 || !b.last {
		b.until = b.until.Add(50 * time.Millisecond)
	}
	b.control.SetReadDeadline(b.until)
}

// NoFurther notes that no attempt follows the one that reads the body. By HTTP/2 a stop then ends a Read at once: the
// client waits for the end of its response meanwhile.
func (b *Body) NoFurther() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last = true
}

// Again makes the body ready for another attempt, which reads it from its beginning. It returns false if something
// was read and not kept, or if the rest cannot be read any more.
func (b *Body) Again() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.mayAgain() {
		return false
	}
	if b.kept != nil {
		b.kept.at = 0
	}
	if !b.until.IsZero() {
		b.until = time.Time{}
		b.control.SetReadDeadline(time.Time{})
	}
	if b.reading == stopping {
		b.reading = open
	}
	return true
}

// Gone reports whether the client has left. A Read that is stopped makes net/http end the request's
// context as if it had.
func (b *Body) Gone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.until.IsZero() {
		return b.left
	}
	return b.ctx.Err() != nil
}

// smallRest is up to how much of a body is read when its request is rejected, so that the connection
// lasts; arriving is how long it may take to arrive.
const (
	smallRest = 64 << 10
	arriving  = 2 * time.Millisecond
)

// Finish reads the rest of a body of no use, if it is small and there already. A client that waits for 100 has
// not sent it. No attempt is using the body any more.
func (b *Body) Finish() {
	b.mu.Lock()
	unwanted := !b.http1 || b.expected == awaited || b.reading == cut || b.length > smallRest
	b.mu.Unlock()
	if unwanted || !b.unfinished() {
		return
	}
	b.control.SetReadDeadline(time.Now().Add(arriving))
	var piece [4 << 10]byte
	for rest := smallRest; rest > 0; {
		n, err := b.src.Read(piece[:min(rest, len(piece))])
		rest -= n
		b.received.Add(int64(n))
		if err == io.EOF {
			b.become(whole)
			b.control.SetReadDeadline(time.Time{})
		}
		if err != nil {
			return
		}
	}
}

// AnnounceClose announces that the connection ends with the response, because of what the client still has to
// send. Over HTTP/2 it need not end. b may be nil: no body.
func (b *Body) AnnounceClose(h http.Header) {
	if b != nil && b.http1 && b.unfinished() {
		h["Connection"] = []string{"close"}
	}
}

// HandOver leaves the rest of the body to net/http. It reads a bounded part of it before it gives the
// connection up, so that the client gets to read the response instead of a reset; but a client that
// sends nothing must not hold the connection, and a response that is aborted need not wait for it.
func (b *Body) HandOver(aborted bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.reading == whole {
		return
	}
	end := time.Now()
	if !aborted {
		end = end.Add(front.Lingering)
		if b.http1 && b.expected == settled {
			b.client.LingerOnClose()
		}
	}
	b.control.SetReadDeadline(end)
}
