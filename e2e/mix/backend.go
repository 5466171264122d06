package mix

import (
	"fmt"
	"strings"
	"time"

	"pace/e2e/pacetest"
)

// behaviour is what a backend does to the nth attempt (from 0) of an exchange.
type behaviour func(x *exchange, nth int, p *pacetest.Exchange) (ending, act)

// act carries it out.
type act func(x *exchange, p *pacetest.Exchange)

const (
	large = 1 << 20 // of a body that is worth splicing
	part  = 400     // of a response that announces more
	event = "data: something happened\n\n"
)

func always(e ending, a act) behaviour {
	return func(*exchange, int, *pacetest.Exchange) (ending, act) { return e, a }
}

func fails(failure string, a act) behaviour { return always(ending{failure: failure}, a) }
func truncates(a act) behaviour             { return always(ending{status: 200, failure: "upstream_truncated"}, a) }
func gone(a act) behaviour                  { return always(ending{failure: "client_gone"}, a) }
func aborted(a act) behaviour               { return always(ending{status: 200, failure: "client_aborted"}, a) }

// responds sends a response with this status. A status of 400 or more is also the error.type.
func responds(status int, header string) behaviour {
	e := ending{status: status}
	if status >= 400 {
		e.failure = fmt.Sprint(status)
	}
	return always(e, func(x *exchange, p *pacetest.Exchange) {
		pacetest.With(status, header, strings.Repeat("y", int(x.luck*3000)))(p)
	})
}

func busy(_ *exchange, p *pacetest.Exchange) { pacetest.Status(503, "busy")(p) }

// first fails the first attempt and answers the second.
func first(e ending, a act) behaviour { return firstThen(e, a, 200) }

func firstThen(e ending, a act, status int) behaviour {
	then := responds(status, "")
	return func(x *exchange, nth int, p *pacetest.Exchange) (ending, act) {
		if nth == 0 {
			return e, a
		}
		return then(x, nth, p)
	}
}

// closesReused ends a connection in the moment in which it is used again, as a backend does whose
// idle time is over.
func closesReused(a act) behaviour {
	fine := responds(200, "")
	return func(x *exchange, nth int, p *pacetest.Exchange) (ending, act) {
		if p.Nth > 1 {
			return ending{failure: "upstream_reset"}, a
		}
		return fine(x, nth, p)
	}
}

// fickle responds, and closes the connection a little later, when the next request may already be under way.
func fickle(x *exchange, _ int, p *pacetest.Exchange) (ending, act) {
	return ending{status: 200}, func(x *exchange, p *pacetest.Exchange) {
		pacetest.Fine(p)
		time.Sleep(time.Duration(x.luck * float64(3*time.Millisecond)))
		p.Close()
	}
}

// slow sends the response piece by piece.
func slow(x *exchange, _ int, p *pacetest.Exchange) (ending, act) {
	return ending{status: 200}, func(x *exchange, p *pacetest.Exchange) {
		piece := time.Duration(x.luck * float64(20*time.Millisecond))
		time.Sleep(piece)
		p.Write("HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
		for range 3 {
			time.Sleep(piece)
			p.Write("ten bytes.")
		}
	}
}

// overdue does the same later, when the exchange has become slow.
func overdue(b behaviour) behaviour {
	return func(x *exchange, nth int, p *pacetest.Exchange) (ending, act) {
		e, then := b(x, nth, p)
		return e, func(x *exchange, p *pacetest.Exchange) {
			time.Sleep(slowAfter + 50*time.Millisecond)
			then(x, p)
		}
	}
}

func chunked(x *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	for range 1 + int(x.luck*5) {
		p.Write("a\r\nten bytes.\r\n")
	}
	p.Write("0\r\n\r\n")
}

// closing sends a body that the connection's end ends.
func closing(_ *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 200 OK\r\n\r\nall that there is")
	p.Close()
}

func hints(_ *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
}

func download(_ *exchange, p *pacetest.Exchange) { announce(p, large, large) }

// announce sends a header that says n bytes, and as many as are to come at once.
func announce(p *pacetest.Exchange, n, now int) {
	p.Write("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", n)
	p.Write("%s", strings.Repeat("x", now))
}

func cutLength(_ *exchange, p *pacetest.Exchange) {
	announce(p, 1000, part)
	p.Close()
}

// cutChunked sends one whole chunk and half of another.
func cutChunked(_ *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n%s\r\n190\r\n%s", strings.Repeat("x", part), strings.Repeat("x", part/2))
	p.Close()
}

// badChunk sends one whole chunk and then what is none.
func badChunk(_ *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n%s\r\nno chunk\r\n", strings.Repeat("x", part))
	p.Close()
}

// cutReset breaks off once the client has what was sent: what is under way would be lost.
func cutReset(x *exchange, p *pacetest.Exchange) {
	announce(p, 1000, part)
	x.await(x.seen)
	p.Reset()
}

func cutLarge(_ *exchange, p *pacetest.Exchange) {
	announce(p, 10*large, large)
	p.Close()
}

func resetLarge(x *exchange, p *pacetest.Exchange) {
	announce(p, 10*large, large)
	x.await(x.seen)
	p.Reset()
}

func resetBefore(_ *exchange, p *pacetest.Exchange) { p.Reset() }
func closeBefore(_ *exchange, p *pacetest.Exchange) { p.Close() }

func halfHead(_ *exchange, p *pacetest.Exchange) {
	p.Write("HTTP/1.1 200 OK\r\nContent-Le")
	p.Close()
}

func garbage(_ *exchange, p *pacetest.Exchange) {
	respondRaw(p, "\x16\x03\x01 this is not HTTP\r\n\r\n")
}

func twoLengths(_ *exchange, p *pacetest.Exchange) {
	respondRaw(p, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!")
}

func bomb(_ *exchange, p *pacetest.Exchange) {
	respondRaw(p, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100_000)+"\r\nContent-Length: 0\r\n\r\n")
}

func respondRaw(p *pacetest.Exchange, raw string) {
	p.Write("%s", raw)
	p.Close()
}

// hang never answers.
func hang(_ *exchange, p *pacetest.Exchange) { p.AwaitClose() }

// readPart reads some of the request's body, and says so.
func readPart(x *exchange, p *pacetest.Exchange) {
	p.ReadBodyN(1000)
	x.ready()
	p.ReadBody()
	p.Close()
}

// takeAll reads a body that never comes to its end.
func takeAll(x *exchange, p *pacetest.Exchange) {
	x.ready()
	p.ReadBody()
	p.AwaitClose()
}

func holdBody(_ *exchange, p *pacetest.Exchange) {
	announce(p, 1000, part)
	p.AwaitClose()
}

func holdLarge(_ *exchange, p *pacetest.Exchange) {
	announce(p, 10*large, large)
	p.AwaitClose()
}

func endless(_ *exchange, p *pacetest.Exchange) { pacetest.Endless(p) }

// gated answers once the client says that it is time.
func gated(x *exchange, p *pacetest.Exchange) {
	x.await(x.seen)
	pacetest.Fine(p)
}

// switches changes protocols, echoes one message, and ends the stream as its kind says.
func switches(protocol string) behaviour {
	return always(ending{status: 101}, func(x *exchange, p *pacetest.Exchange) {
		p.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n", protocol)
		p.EchoN(int64(len(message)))
		switch x.closed {
		case "backend_closed":
			x.await(x.seen)
			p.Close()
		case "backend_lost":
			x.await(x.seen)
			p.Reset()
		default:
			p.Echo()
		}
	})
}

const eventHead = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

func sendEvent(p *pacetest.Exchange) { p.Write("%x\r\n%s\r\n", len(event), event) }

func events(x *exchange, p *pacetest.Exchange) {
	p.Write(eventHead)
	for range 1 + int(x.luck*4) {
		sendEvent(p)
	}
	p.Write("0\r\n\r\n")
}

func heldEvents(_ *exchange, p *pacetest.Exchange) {
	p.Write(eventHead)
	sendEvent(p)
	p.AwaitClose()
}

func brokenEvents(x *exchange, p *pacetest.Exchange) {
	p.Write(eventHead)
	sendEvent(p)
	x.await(x.seen)
	p.Reset()
}
