package mix

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"pace/e2e/pacetest"
)

// errLeft is the response of a client that did not wait for one.
var errLeft = errors.New("the client left")

// wire is a client's connection for raw bytes, in clear text or over TLS.
type wire struct {
	halfCloser
	tcp *net.TCPConn // below it
	r   *bufio.Reader
	err error // the first one; what follows it does nothing
}

type halfCloser interface {
	net.Conn
	CloseWrite() error
}

func (x *exchange) dial() *wire {
	c, err := new(net.Dialer).DialContext(x.ctx, "tcp", x.proxy)
	if err != nil {
		return &wire{err: err}
	}
	deadline, _ := x.ctx.Deadline()
	c.SetDeadline(deadline)
	w := &wire{halfCloser: c.(*net.TCPConn), tcp: c.(*net.TCPConn)}
	if x.tls != nil {
		over := tls.Client(c, x.tls)
		w.halfCloser, w.err = over, over.Handshake()
		x.shook(w.err)
	}
	w.r = bufio.NewReader(w.halfCloser)
	return w
}

func (w *wire) close() {
	if w.tcp != nil {
		w.Close()
	}
}

// reset breaks the connection off with RST.
func (w *wire) reset() {
	if w.tcp != nil {
		w.tcp.SetLinger(0)
		w.tcp.Close()
	}
}

func (w *wire) send(raw string) {
	if w.err == nil {
		_, w.err = io.WriteString(w, raw)
	}
}

// head reads one response header.
func (w *wire) head(method string) *http.Response {
	if w.err != nil {
		return nil
	}
	var resp *http.Response
	resp, w.err = http.ReadResponse(w.r, &http.Request{Method: method})
	return resp
}

// response reads a whole response.
func (w *wire) response(method string) pacetest.Response {
	resp := w.head(method)
	if resp == nil {
		return pacetest.Response{Err: w.err}
	}
	return pacetest.Read(resp)
}

// read reads n bytes, of r or else of the connection.
func (w *wire) read(r io.Reader, n int) string {
	if w.err != nil {
		return ""
	}
	b := make([]byte, n)
	n, w.err = io.ReadFull(r, b)
	return string(b[:n])
}

// rest reads until pace closes.
func (w *wire) rest() {
	if w.err == nil {
		io.Copy(io.Discard, w.r)
	}
}

// giveUp ends the request over HTTP/2 or HTTP/3: its stream, or over HTTP/3 also the connection, where it is alone.
func (x *exchange) giveUp() {
	if x.mode == pacetest.H3 && x.luck < 0.5 {
		x.h3.Conn(x.proxy).CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
		return
	}
	x.cancel()
}

// leave ends the connection in one of the two ways that there are.
func (x *exchange) leave(w *wire) {
	if x.luck < 0.5 {
		w.reset()
	} else {
		w.close()
	}
}
