package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"time"

	"pace/proxy/front"
	"pace/proxy/message"
	"pace/proxy/transport"
	"pace/telemetry"
)

// client is the way to the client. Every response goes out through it, pace's own or a backend's, piece by
// piece or in the kernel, and what a stream sends after a switch of protocols: so bytes are counted in one
// place. It decides nothing; whoever calls it says what an error means. The handler's goroutine owns it.
type client struct {
	w        http.ResponseWriter // net/http's own, without otelhttp's wrapper: the record counts
	r        *http.Request
	ctx      context.Context // of the exchange
	conn     *front.Conn
	living   *front.Exchange
	rec      *telemetry.Record
	deadline time.Time     // of a gRPC call: its client waits no longer; zero: none
	early    time.Duration // a client that leaves no longer than this before its deadline leaves because of it
	stream   uint32        // of HTTP/2, once the final response has begun; 0: HTTP/1
	goesOn   bool          // the stream's connection knows that more is written at once
	begun    bool          // a final status has been handed to net/http
	unsent   bool          // net/http has failed to write some of it, over HTTP/2
	handed   int64         // bytes of a body over HTTP/2 that net/http has taken since the last flush, and may hold back
	broken   bool          // its connection must be aborted: its response is not whole
	switched net.Conn      // to another protocol, and out of net/http's care; nil: it speaks HTTP
}

// Header returns the fields of the response that is next, interim or final.
func (c *client) Header() http.Header { return c.w.Header() }

// interim sends a 1xx response. Its hop-by-hop fields stay behind, as those of the final one.
func (c *client) interim(status int, fields []transport.Field) {
	h := c.Header()
	connection := connectionFields(fields)
	for _, f := range fields {
		if !message.StaysBehind(f.Name, connection) {
			h[f.Name] = append(h[f.Name], f.Value)
		}
	}
	c.rec.Enter(telemetry.Deliver)
	c.w.WriteHeader(status)
	clear(h)
}

// begin sends the status and the fields of the final response, which net/http may hold back.
func (c *client) begin(status int) {
	c.begun = true
	if c.r.ProtoMajor == 2 {
		c.stream = front.StreamID(c.w)
	}
	c.goOn()
	c.w.WriteHeader(status)
}

// Write sends a piece of the body, or of the stream.
func (c *client) Write(piece []byte) (n int, err error) {
	if c.switched != nil {
		n, err = c.switched.Write(piece)
	} else {
		c.goOn()
		n, err = c.w.Write(piece)
	}
	if c.stream == 0 {
		c.count(int64(n))
	} else {
		c.handed, c.unsent = c.handed+int64(n), c.unsent || err != nil
	}
	return n, err
}

// count notes that n bytes went out.
func (c *client) count(n int64) {
	c.rec.BytesOut += n
	if c.rec.Stream != telemetry.NoStream {
		c.rec.Moved(0, max(n, 0)) // it is counted at once, and what net/http has lost cannot be taken back
	}
}

// countRest counts at the end of the exchange what is not counted yet of a body over HTTP/2. net/http sends what it holds
// back once the handler has ended. But if it has failed to write, or sends nothing more, only the connection knows how much
// went out.
func (c *client) countRest() {
	if c.unsent || c.stream != 0 && c.conn.GivenUp() {
		c.rec.Enter(telemetry.Deliver)
		c.handed = c.conn.Taken(c.stream, c.rec.BytesOut) - c.rec.BytesOut
	}
	c.count(c.handed)
}

// goOn lets the connection hold what is written over HTTP/2 from now on, until flush or the end of the response. So a
// caller that writes must not wait for a backend before it has flushed.
func (c *client) goOn() {
	if c.stream != 0 && !c.goesOn {
		c.goesOn = true
		c.conn.ExpectMore(c.stream)
	}
}

// flush sends what net/http and the connection hold back.
func (c *client) flush() error {
	if c.goesOn {
		c.goesOn = false
		c.conn.ExpectNoMore(c.stream)
		defer c.conn.SendHeld()
	}
	return c.pass()
}

// pass has net/http send what it holds back, which the connection may hold.
func (c *client) pass() error {
	c.rec.Enter(telemetry.Deliver)
	err := c.w.(interface{ FlushError() error }).FlushError()
	if err == nil {
		c.count(c.handed)
		c.handed = 0
	} else if c.stream != 0 {
		c.unsent = true
	}
	return err
}

// splice has net/http hand b over to the client's connection, which moves it in the kernel. b says how far it
// came and what failed.
func (c *client) splice(b *kernelBody) {
	c.w.(io.ReaderFrom).ReadFrom(b)
	c.count(b.moved)
}

// hijack takes the client's connection over from net/http, with what the client has sent already.
func (c *client) hijack() *bufio.Reader {
	conn, buffered, err := http.NewResponseController(c.w).Hijack()
	if err != nil {
		panic("pace: BUG: a switch that net/http does not allow: " + err.Error())
	}
	c.switched, c.begun = conn, true
	return buffered.Reader
}

// abort has the client's connection end with the exchange, because its response is not whole; the client must
// be able to see that. To HTTP/1.0 the end of the connection is the end of the response, unless it is a reset;
// and for a client that took nothing, the kernel would keep what it holds.
func (c *client) abort() {
	c.broken = true
	if c.rec.Protocol == "1.0" || c.r.ProtoMajor == 1 && c.living.Stalled() {
		c.conn.ResetOnClose()
	}
}

// aborted reports whether draining has ended the request, before its client left.
func (c *client) aborted() bool { return context.Cause(c.r.Context()) == front.ErrAborted }

// brokeRules reports whether the client broke a rule of HTTP/2 or HTTP/3: the stream is then reset, and the request's
// context ends as if the client had left.
func (c *client) brokeRules() bool {
	return c.r.ProtoMajor >= 2 && !c.conn.ClientLeft(front.StreamID(c.w))
}
