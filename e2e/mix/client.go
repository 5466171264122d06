package mix

import (
	"fmt"
	"io"
	"strings"
	"time"

	"pace/e2e/pacetest"
)

// send is what most clients do: send the request, read the response.
func send(x *exchange) pacetest.Response {
	return pacetest.Do(x.client, x.request(strings.NewReader(x.body)))
}

// upload sends a body that does not say its size.
func upload(x *exchange) pacetest.Response {
	return pacetest.Do(x.client, x.request(io.MultiReader(strings.NewReader(x.body))))
}

// old speaks HTTP/1.0.
func old(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	w.send(strings.Replace(x.head(""), "HTTP/1.1", "HTTP/1.0", 1))
	return w.response(x.method)
}

// leaveWaiting leaves once a backend has the request.
func leaveWaiting(x *exchange) pacetest.Response {
	if x.mode != pacetest.H1 {
		go func() {
			x.await(x.began)
			x.giveUp()
		}()
		return send(x)
	}
	w := x.dial()
	if x.body == "" {
		w.send(x.head(""))
	} else {
		w.send(x.head(fmt.Sprintf("Content-Length: %d\r\n", len(x.body))) + x.body)
	}
	return x.leaveNow(w)
}

// leaveSending leaves once a backend has a part of the request's body.
func leaveSending(x *exchange) pacetest.Response {
	if x.mode != pacetest.H1 {
		body, more := io.Pipe()
		go func() {
			io.WriteString(more, x.body[:1000])
			x.await(x.began)
			x.giveUp()
			more.CloseWithError(io.ErrClosedPipe)
		}()
		return pacetest.Do(x.client, x.request(body))
	}
	w := x.dial()
	w.send(x.head(fmt.Sprintf("Content-Length: %d\r\n", len(x.body))) + x.body[:1000])
	return x.leaveNow(w)
}

func (x *exchange) leaveNow(w *wire) pacetest.Response {
	x.await(x.began)
	x.leave(w)
	if w.err != nil || x.ctx.Err() != nil {
		return pacetest.Response{Status: -1, Err: w.err} // it did not come to that
	}
	return pacetest.Response{Err: errLeft}
}

// readLimit returns how much of a response a client reads before it acts.
func (x *exchange) readLimit() int {
	if x.part > 0 {
		return x.part
	}
	return 64 << 10
}

// leaveReading leaves once it has a known part of the response.
func leaveReading(x *exchange) pacetest.Response {
	if x.mode != pacetest.H1 {
		resp, err := x.client.Do(x.request(nil))
		if err != nil {
			return pacetest.Response{Err: err}
		}
		if _, err := io.CopyN(io.Discard, resp.Body, int64(x.readLimit())); err != nil {
			return pacetest.Response{Status: -1, Err: err}
		}
		x.giveUp()
		return pacetest.Read(resp)
	}
	w := x.dial()
	w.send(x.head(""))
	resp := w.head(x.method)
	if resp != nil {
		w.read(resp.Body, x.readLimit())
	}
	if w.err != nil {
		w.close()
		return pacetest.Response{Status: -1, Err: w.err}
	}
	if x.stream != "" {
		w.close() // with RST it would be lost, not left
	} else {
		x.leave(w)
	}
	return pacetest.Response{Status: resp.StatusCode, Header: resp.Header, Err: errLeft}
}

// watch tells the backend when it has n bytes of the response, and reads on.
func watch(n int) func(*exchange) pacetest.Response {
	return func(x *exchange) pacetest.Response {
		defer x.saw()
		resp, err := x.client.Do(x.request(nil))
		if err != nil {
			return pacetest.Response{Err: err}
		}
		begin, err := io.ReadAll(io.LimitReader(resp.Body, int64(n)))
		if err != nil || len(begin) < n {
			resp.Body.Close()
			return pacetest.Response{Status: -1, Err: err}
		}
		x.saw()
		got := pacetest.Read(resp)
		got.Body = string(begin) + got.Body
		return got
	}
}

// grow sends more than is allowed, in a body that does not say its size, once a backend has the rest.
func grow(x *exchange) pacetest.Response {
	body, more := io.Pipe()
	go func() {
		io.WriteString(more, x.body[:1000])
		x.await(x.began)
		io.WriteString(more, x.body[1000:])
		more.Close()
	}()
	stop := time.AfterFunc(x.patience, func() { more.CloseWithError(io.ErrClosedPipe) })
	defer stop.Stop()
	return pacetest.Do(x.client, x.request(body))
}

// message is what goes over an upgraded connection, both ways.
const message = "ping"

// upgrade switches protocols, has one message echoed, and ends the stream as its kind says.
func upgrade(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	protocol := "websocket"
	if x.stream == "other" {
		protocol = "echo"
	}
	w.send(x.head("Connection: Upgrade\r\nUpgrade: " + protocol + "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"))
	resp := w.head(x.method)
	w.send(message)
	echo := w.read(w.r, len(message))
	if w.err != nil || echo != message {
		x.saw()
		return pacetest.Response{Status: -1, Err: w.err}
	}
	switch x.closed {
	case "client_closed":
		w.CloseWrite()
		w.rest()
	case "client_lost":
		w.reset()
	default:
		x.saw()
		w.rest()
	}
	return pacetest.Response{Status: resp.StatusCode, Header: resp.Header, Body: echo}
}

// connect asks for a tunnel.
func connect(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	w.send(strings.Replace(x.head(""), x.target()+" ", "x:1 ", 1))
	return w.response(x.method)
}

// mangle sends a body that breaks its own coding, once a backend has the rest.
func mangle(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	w.send(x.head("Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n")
	x.await(x.began)
	w.send("this is no chunk\r\n")
	return w.response(x.method)
}

// stall sends half of a body, and nothing more.
func stall(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	w.send(x.head("Content-Length: 10\r\n") + x.body)
	return w.response(x.method)
}

// refusedFor sends what net/http answers by itself; format takes the path.
func refusedFor(format string) func(*exchange) pacetest.Response {
	return func(x *exchange) pacetest.Response {
		w := x.dial()
		defer w.close()
		w.send(fmt.Sprintf(format, x.path))
		return w.response("GET")
	}
}

func hugeHead(x *exchange) pacetest.Response {
	w := x.dial()
	defer w.close()
	w.send(x.head("X-Huge: " + strings.Repeat("x", 100_000) + "\r\n"))
	return w.response("GET")
}
