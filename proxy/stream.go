package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"pace/proxy/pipe"
	"pace/proxy/transport"
	"pace/telemetry"
)

// streamEvents sends server-sent events. They may go on for hours, so the request is measured by its header,
// and its outcome is that of its status; how the stream ends is its close reason, and that the client leaves
// is how most of them end.
func (q *request) streamEvents() {
	if err := q.client.flush(); err != nil {
		q.delivered(notSent(q.rec))
		return
	}
	q.delivered(ending{})
	q.timeout.stop()
	q.resp.BodyTimeout = 0
	q.h.Telemetry.BecomeStream(q.rec, telemetry.EventStream)
	q.reportStream()
	defer q.step.Backend.OpenStream(q.endEvents)()
	q.streamed(q.deliver())
}

// endEvents ends a stream of server-sent events, because its backend is drained and the time of its streams is up. It
// runs on another goroutine, and wakes the handler wherever that waits.
func (q *request) endEvents() {
	q.drained.Store(true)
	q.resp.Interrupt()
	q.living.Interrupt()
}

// upgrade sends the 101 and joins the two connections until both have ended. The request's metrics
// are written as the stream begins: a connection that lives for hours is not a request of hours.
func (q *request) upgrade() {
	q.timeout.stop()
	server, early := q.resp.Hijack()
	defer server.Close()
	buffered := q.client.hijack()
	conn := q.client.switched
	defer conn.Close()
	q.living.BecomeStream(conn)
	conn.SetDeadline(time.Time{})
	h := http.Header{}
	q.copyFields(h)
	err := sendSwitch(conn, h, q.resp.Fields, early)
	endsSwitch(q.rec, err)
	if err != nil {
		return
	}
	q.h.Telemetry.BecomeStream(q.rec, streamKind(q.out.Upgrade))
	q.reportStream()
	q.client.count(int64(len(early)))
	s := &stream{q: q, client: conn, server: server}
	defer q.step.Backend.OpenStream(s.endDrained)()
	s.join(buffered)
}

func streamKind(protocol string) telemetry.StreamKind {
	if strings.EqualFold(protocol, "websocket") {
		return telemetry.WebSocket
	}
	return telemetry.OtherUpgrade
}

// sendSwitch sends the 101 with the fields h and those for the switch, and what the backend sent right after
// it.
func sendSwitch(client net.Conn, h http.Header, fields []transport.Field, early []byte) error {
	delete(h, "Content-Length") // a 101 has no body (RFC 9110 §8.6)
	delete(h, "Trailer")
	copyUpgrade(h, fields)
	w := bufio.NewWriter(client)
	io.WriteString(w, "HTTP/1.1 101 Switching Protocols\r\n")
	h.Write(w)
	io.WriteString(w, "\r\n")
	w.Write(early)
	return w.Flush()
}

// stream joins a client's and a backend's connection.
type stream struct {
	q              *request
	client, server net.Conn

	mu     sync.Mutex
	closed telemetry.CloseReason // the first reason
}

// join copies both ways until both have ended. When one side has no more to say the other is told
// so, and may finish; when one is lost, both end.
func (s *stream) join(read *bufio.Reader) {
	rec := s.q.rec
	done := make(chan any)
	go func() {
		in := &pump{s: s, from: s.client, to: s.server, encrypted: s.q.conn.Encrypted(), write: func(b []byte) (int, error) {
			n, err := s.server.Write(b)
			rec.Moved(int64(n), 0)
			return n, err
		},
			ended: telemetry.ClosedByClient, unreadable: telemetry.LostClient, unwritable: telemetry.LostBackend}
		var bug any
		rec.BytesIn, bug = in.safely(read)
		done <- bug
	}()
	out := &pump{s: s, from: s.server, to: s.client, encrypted: s.q.backend.IsSecure(), write: s.q.client.Write,
		ended: telemetry.ClosedByBackend, unreadable: telemetry.LostBackend, unwritable: telemetry.LostClient}
	_, bug := out.safely(nil)
	if other := <-done; bug == nil {
		bug = other
	}
	if rec.Closed = s.reason(); s.q.h.InFlight.Aborted() {
		rec.Closed = telemetry.ClosedByDrain
	}
	if bug != nil { // both directions have ended, so nobody else touches the record
		panic(bug)
	}
}

// endDrained ends the stream, because its backend is drained and the time of its streams is up. It runs on another
// goroutine.
func (s *stream) endDrained() {
	s.because(telemetry.ClosedByDrain)
	s.client.Close()
	s.server.Close()
}

// because notes why the stream ends, unless it is ending already.
func (s *stream) because(why telemetry.CloseReason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed == telemetry.NotClosed {
		s.closed = why
	}
}

// reason returns why the stream ended.
func (s *stream) reason() telemetry.CloseReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// pump is one direction of a stream.
type pump struct {
	s                             *stream
	from, to                      net.Conn
	encrypted                     bool                      // bytes that the kernel no longer has may wait in TLS
	write                         func([]byte) (int, error) // to to; it counts
	ended, unreadable, unwritable telemetry.CloseReason
}

var pieces = sync.Pool{New: func() any { return new([16 << 10]byte) }}

// safely is run, but for a panic: that ends the stream, and is returned with its stack. No word for how
// streams end means a bug of ours; drained is the one that blames neither side.
func (p *pump) safely(first *bufio.Reader) (total int64, bug any) {
	defer func() {
		if v := recover(); v != nil {
			p.lost(telemetry.ClosedByDrain)
			bug = fmt.Sprintf("%v\n%s", v, debug.Stack())
		}
	}()
	if p.s.q.h.at(inStream); first != nil {
		p.s.q.h.at(inStreamToBackend)
	}
	return p.run(first), nil
}

// run moves bytes until its side has ended, those in first before all others; first may be nil.
// A stream that is silent holds no buffer, unless it is over TLS.
func (p *pump) run(first *bufio.Reader) (total int64) {
	if first != nil && first.Buffered() > 0 {
		early, _ := first.Peek(first.Buffered())
		n, err := p.write(early)
		total += int64(n)
		if err != nil {
			p.lost(p.unwritable)
			return total
		}
	}
	for {
		n, why := p.piece()
		total += int64(n)
		switch why {
		case telemetry.NotClosed:
			continue
		case p.ended:
			p.s.because(why)
			p.to.(interface{ CloseWrite() error }).CloseWrite()
		default:
			p.lost(why)
		}
		return total
	}
}

// piece moves what is there, once something is.
func (p *pump) piece() (int, telemetry.CloseReason) {
	if !p.encrypted {
		if err := pipe.AwaitReadable(p.from); err != nil {
			return 0, p.unreadable
		}
	}
	b := pieces.Get().(*[16 << 10]byte)
	defer pieces.Put(b)
	n, err := p.from.Read(b[:])
	if n > 0 {
		if n, err := p.write(b[:n]); err != nil {
			return n, p.unwritable
		}
	}
	switch err {
	case nil:
		return n, telemetry.NotClosed
	case io.EOF:
		return n, p.ended
	}
	return n, p.unreadable
}

func (p *pump) lost(why telemetry.CloseReason) {
	p.s.because(why)
	p.to.Close()
	p.from.Close()
}
