package mix

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"

	"pace/e2e/pacetest"
)

// errLeft is the response of a client that did not wait for one.
var errLeft = errors.New("the client left")

// wire is a client's connection for raw bytes.
type wire struct {
	*net.TCPConn
	r   *bufio.Reader
	err error // the first one; what follows it does nothing
}

func (x *exchange) dial() *wire {
	c, err := new(net.Dialer).DialContext(x.ctx, "tcp", x.proxy)
	if err != nil {
		return &wire{err: err}
	}
	deadline, _ := x.ctx.Deadline()
	c.SetDeadline(deadline)
	return &wire{TCPConn: c.(*net.TCPConn), r: bufio.NewReader(c)}
}

func (w *wire) close() {
	if w.TCPConn != nil {
		w.Close()
	}
}

// reset breaks the connection off with RST.
func (w *wire) reset() {
	if w.TCPConn != nil {
		w.SetLinger(0)
		w.Close()
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

// leave ends the connection in one of the two ways that there are.
func (x *exchange) leave(w *wire) {
	if x.luck < 0.5 {
		w.reset()
	} else {
		w.close()
	}
}
