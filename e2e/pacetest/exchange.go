package pacetest

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Exchange is one request, and the connection for its response.
type Exchange struct {
	*Request
	backend *Backend
	conn    net.Conn
	tcp     *net.TCPConn // below conn if that is over TLS
	br      *bufio.Reader
	body    io.Reader
	trailer func() http.Header
	over    bool // the connection is closed, or no longer HTTP
}

// Write writes raw bytes and reports whether the connection still took them.
func (x *Exchange) Write(format string, args ...any) bool {
	if len(args) > 0 {
		format = fmt.Sprintf(format, args...)
	}
	if _, err := io.WriteString(x.conn, format); err != nil {
		x.over = true
	}
	return !x.over
}

// ReadBody reads what is left of the request's body into the request.
func (x *Exchange) ReadBody() { x.ReadBodyN(-1) }

// ReadBodyN reads n more bytes of the request's body, all of it if n is negative.
func (x *Exchange) ReadBodyN(n int64) {
	body := x.body
	if n >= 0 {
		body = io.LimitReader(body, n)
	}
	got, err := io.ReadAll(body)
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	x.Body = append(x.Body, got...)
	x.BodyErr = cmp.Or(x.BodyErr, err) // the first error stays
	x.Trailer = x.trailer()
}

// CopyBody copies the request's body to w instead of keeping it in memory.
func (x *Exchange) CopyBody(to io.Writer) {
	_, err := io.Copy(to, x.body)
	x.backend.mu.Lock()
	defer x.backend.mu.Unlock()
	x.BodyErr = cmp.Or(x.BodyErr, err)
}

// Reset aborts the connection with RST.
func (x *Exchange) Reset() {
	x.tcp.SetLinger(0)
	x.Drop()
}

// Drop ends the connection with FIN, over TLS without close_notify.
func (x *Exchange) Drop() {
	x.over = true
	x.tcp.Close()
}

// Close ends the connection with FIN, over TLS after close_notify.
func (x *Exchange) Close() {
	x.over = true
	x.conn.Close()
}

// AwaitClose blocks until pace closes the connection, whatever else it sends.
func (x *Exchange) AwaitClose() {
	io.Copy(io.Discard, x.conn)
	x.Close()
}

// Echo sends every byte back, until pace or the client closes.
func (x *Exchange) Echo() {
	io.Copy(x.conn, x.br)
	x.Close()
}

// EchoN sends the next n bytes back.
func (x *Exchange) EchoN(n int64) { io.CopyN(x.conn, x.br, n) }

// ByPath answers with the entry of the first path segment ("/cut/7" with "/cut"), else
// with that of "/".
func ByPath(behaviours map[string]Behaviour) Behaviour {
	return func(x *Exchange) {
		first, _, _ := strings.Cut(strings.TrimPrefix(x.Target, "/"), "/")
		first, _, _ = strings.Cut(first, "?")
		if behaviour, ok := behaviours["/"+first]; ok {
			behaviour(x)
			return
		}
		behaviours["/"](x)
	}
}

// Fine answers 200 with the body "fine" after reading the whole request.
func Fine(x *Exchange) { Status(200, "fine")(x) }

// Status answers with status and body after reading the whole request.
func Status(status int, body string) Behaviour {
	return With(status, "Content-Type: text/plain\r\n", body)
}

// With answers like [Status], with header lines of the test's own (each ends in CRLF).
func With(status int, header, body string) Behaviour {
	return func(x *Exchange) {
		x.ReadBody()
		head := fmt.Sprintf("HTTP/1.1 %d %s\r\n%s", status, http.StatusText(status), header)
		if status != 204 && status != 304 {
			head += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		x.Write("%s", head+"\r\n")
		if x.Method != "HEAD" && status != 204 && status != 304 {
			x.Write("%s", body)
		}
	}
}

// Raw writes these bytes after reading the whole request, then closes.
func Raw(bytes string) Behaviour {
	return func(x *Exchange) {
		x.ReadBody()
		x.Write("%s", bytes)
		x.Close()
	}
}

// Later waits before it reads the request.
func Later(d time.Duration, behaviour Behaviour) Behaviour {
	return func(x *Exchange) {
		time.Sleep(d)
		behaviour(x)
	}
}

// Gated reads the request, and serves it once open is closed.
func Gated(open <-chan struct{}, behaviour Behaviour) Behaviour {
	return func(x *Exchange) {
		x.ReadBody()
		<-open
		behaviour(x)
	}
}

// Hang reads the request and never responds. It ends when pace closes the connection.
func Hang(x *Exchange) {
	x.ReadBody()
	x.AwaitClose()
}

// ResetBefore reads the request, and aborts the connection with RST before the first byte of a response.
func ResetBefore(x *Exchange) {
	x.ReadBody()
	x.Reset()
}

// CloseBefore reads the request, and closes the connection with FIN before the first byte of a response.
func CloseBefore(x *Exchange) {
	x.ReadBody()
	x.Close()
}

// CloseReused answers a connection's first request, and closes when the next one comes: the
// idle-close race, lost each time.
func CloseReused(x *Exchange) {
	if x.Nth > 1 {
		CloseBefore(x)
		return
	}
	Fine(x)
}

// Garbage answers with bytes that are not HTTP.
func Garbage(x *Exchange) {
	Raw("\x16\x03\x01 this is not HTTP\r\n\r\n")(x)
}

// CutLength announces 1000 bytes, sends 400 and closes.
func CutLength(x *Exchange) {
	Raw("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 400))(x)
}

// CutChunked sends one whole chunk of 400 bytes, half of another, and closes.
func CutChunked(x *Exchange) {
	Raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n190\r\n" +
		strings.Repeat("x", 400) + "\r\n190\r\n" + strings.Repeat("x", 200))(x)
}

// CutReset announces 1000 bytes, sends 400, waits until cut is closed, and aborts the connection with RST.
func CutReset(cut <-chan struct{}) Behaviour {
	return func(x *Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n%s", strings.Repeat("x", 400))
		<-cut
		x.Reset()
	}
}

// Endless sends body bytes until pace takes no more.
func Endless(x *Exchange) {
	x.ReadBody()
	block := strings.Repeat("x", 16<<10)
	for ok := x.Write("HTTP/1.1 200 OK\r\nContent-Length: 1099511627776\r\n\r\n"); ok; {
		ok = x.Write("%s", block)
	}
	x.Close()
}

// UpgradeEcho switches to the protocol "echo" and sends every byte back, until pace or the
// client closes.
func UpgradeEcho(x *Exchange) {
	x.Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
	x.Echo()
}
