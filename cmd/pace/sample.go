package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"pace/proxy/front"
)

const (
	// downFor is how long a sample backend is down after /kill.
	downFor = 20 * time.Second
	// resetAfter is the time from /reset to the reset of the connection.
	resetAfter = 30 * time.Millisecond
)

// sampleBackend is one backend of the demo. It responds with JSON that shows what it received. Some of its
// paths make it fail.
type sampleBackend struct {
	number, port int
	resets       *resets // shared by all backends of the demo

	mu     sync.Mutex
	server *http.Server // replaced each time it comes back from /kill
	killed bool         // guards against a second /kill while it is going down
}

// serve serves l until /kill, is down for a while, and then listens on the same port again.
func (b *sampleBackend) serve(l net.Listener) {
	for {
		b.mu.Lock()
		b.server, b.killed = &http.Server{Handler: b.handler()}, false
		server := b.server
		b.mu.Unlock()
		server.Serve(l)
		fmt.Fprintf(os.Stderr, "backend-%d on port %d is down for %s\n", b.number, b.port, downFor)
		time.Sleep(downFor)
		var err error
		for l, err = front.Listen(b.address()); err != nil; l, err = front.Listen(b.address()) {
			time.Sleep(time.Second) // another process has taken the port meanwhile
		}
		fmt.Fprintf(os.Stderr, "backend-%d on port %d is up again\n", b.number, b.port)
	}
}

func (b *sampleBackend) address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(b.port)) }

func (b *sampleBackend) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/slow", b.slow)
	mux.HandleFunc("/status/{code}", b.status)
	mux.HandleFunc("/die", die)
	mux.HandleFunc("/reset", b.reset)
	mux.HandleFunc("POST /kill", b.kill)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { b.respond(w, r, http.StatusOK) })
	return mux
}

func (b *sampleBackend) slow(w http.ResponseWriter, r *http.Request) {
	ms, _ := strconv.Atoi(cmp.Or(r.FormValue("ms"), "500"))
	time.Sleep(time.Duration(min(max(ms, 0), 60_000)) * time.Millisecond)
	b.respond(w, r, http.StatusOK)
}

func (b *sampleBackend) status(w http.ResponseWriter, r *http.Request) {
	code, err := strconv.Atoi(r.PathValue("code"))
	if err != nil || code < 200 || code > 599 {
		code = http.StatusBadRequest
	}
	b.respond(w, r, code)
}

// die aborts the response in its body.
func die(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "1000")
	io.WriteString(w, "this response promises 1000 bytes and")
	http.NewResponseController(w).Flush()
	panic(http.ErrAbortHandler)
}

// reset resets the connection without a response, unless another backend has already done so for this
// request. So a request that pace may repeat succeeds at the second backend.
func (b *sampleBackend) reset(w http.ResponseWriter, r *http.Request) {
	if !b.resets.first(r.Header.Get("X-Request-Id")) {
		b.respond(w, r, http.StatusOK)
		return
	}
	time.Sleep(resetAfter)
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // Close sends a RST
	}
	conn.Close()
}

// kill sends a response and then takes this backend down, as if its process had ended: connections are
// closed, and new ones are refused.
func (b *sampleBackend) kill(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	server, first := b.server, !b.killed
	b.killed = true
	b.mu.Unlock()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := fmt.Sprintf("backend-%d goes down for %s\n", b.number, downFor)
	w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	io.WriteString(w, text)
	http.NewResponseController(w).Flush()
	if first {
		go server.Close()
	}
}

func (b *sampleBackend) respond(w http.ResponseWriter, r *http.Request, status int) {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.Encode(map[string]any{
		"backend": "backend-" + strconv.Itoa(b.number), "port": b.port,
		"method": r.Method, "path": r.URL.Path, "headers": r.Header,
	})
}

// resets remembers the request whose connection was reset last. It is safe for concurrent use.
type resets struct {
	mu   sync.Mutex
	last string
}

// first reports whether this is the first backend that resets the connection of the request.
func (r *resets) first(requestID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if requestID != "" && requestID == r.last {
		r.last = ""
		return false
	}
	r.last = requestID
	return true
}

// listenNear listens on the address. If its port is taken, it takes the next free one and prints which.
func listenNear(address string) (net.Listener, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s: write the address as host:port: %w", address, err)
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%s: write a port from 0 to 65535", address)
	}
	for try := int(port); ; try++ {
		l, err := front.Listen(net.JoinHostPort(host, strconv.Itoa(try)))
		if err == nil {
			if try != int(port) {
				fmt.Fprintf(os.Stderr, "port %d is taken, %d is used instead\n", port, try)
			}
			return l, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try >= min(int(port)+100, 65535) {
			return nil, err
		}
	}
}
