package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// call is a request over HTTP/2, and what its response must be.
type call struct {
	fields  []string // name, value, …
	message []byte   // the body
	size    int      // of the response's body
	want    string   // the field that says that it went well, as "name: value"
}

const (
	grpcPath   = "/bench.Bench/Unary"
	grpcPrefix = 5 // bytes before each message: whether it is compressed, and its length
)

// smallCall is the same request as wrk sends.
func smallCall(addr string) call {
	return call{
		fields: []string{":method", "GET", ":scheme", "https", ":authority", addr, ":path", "/small", "user-agent", "bench/1", "accept", "application/json"},
		size:   smallSize, want: ":status: 200",
	}
}

// grpcCall is what grpc-go sends for a unary call with a message of 100 bytes.
func grpcCall(addr string) call {
	return call{
		fields: []string{":method", "POST", ":scheme", "https", ":authority", addr, ":path", grpcPath,
			"content-type", "application/grpc", "user-agent", "grpc-go/1.84.0", "te", "trailers", "grpc-timeout", "10S"},
		message: grpcMessage(100), size: grpcPrefix + smallSize, want: "grpc-status: 0",
	}
}

func grpcMessage(size int) []byte {
	return append([]byte{0, 0, 0, byte(size >> 8), byte(size)}, bytes.Repeat([]byte("x"), size)...)
}

// The load over HTTP/2 and HTTP/3: as many requests in flight as wrk has connections.
const (
	streamConns = 8
	streamsEach = 8 // of each
)

// loadStreams sends so many requests over HTTP/2. The client is of the bench's own, because net/http's would
// need more CPU than most of the proxies.
func loadStreams(to target, c call, requests int) (l load, err error) {
	callers := make([]*caller, streamConns)
	var group sync.WaitGroup
	for i := range callers {
		if callers[i], err = newCaller(to, c, requests/streamConns); err != nil {
			return l, err
		}
		defer callers[i].conn.Close()
	}
	faults := make([]error, streamConns)
	before, begin := ownCPU(), time.Now()
	for i := range callers {
		group.Go(func() { faults[i] = callers[i].run() })
	}
	group.Wait()
	l.requests, l.seconds, l.cpu = float64(requests/streamConns*streamConns), time.Since(begin).Seconds(), (ownCPU() - before).Seconds()
	var took []time.Duration
	for _, c := range callers {
		took = append(took, c.took...)
	}
	l.quantiles(took)
	return l, errors.Join(faults...)
}

// quantiles sets the percentiles of the durations of all requests.
func (l *load) quantiles(took []time.Duration) {
	if len(took) > 0 {
		slices.Sort(took)
		l.p50, l.p99 = took[len(took)/2], took[len(took)*99/100]
	}
}

// ownCPU is the CPU that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// caller is one connection with its requests. It reads and writes on one goroutine: what follows from the
// frames that came together goes out together.
type caller struct {
	call
	*h2Conn
	block  []byte // the fields of the request
	left   int    // requests that have not begun
	stream uint32 // of the next one
	flying map[uint32]*flight
	took   []time.Duration

	good bool // the block of fields that is read has the wanted one
}

// flight is a request without a whole response yet.
type flight struct {
	begin time.Time
	size  int
	good  bool
}

func newCaller(to target, request call, requests int) (*caller, error) {
	conn, err := to.dial("h2")
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(time.Minute))
	c := &caller{call: request, h2Conn: newH2Conn(conn), left: requests, stream: 1, flying: map[uint32]*flight{}, took: make([]time.Duration, 0, requests)}
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	encoder.SetMaxDynamicTableSize(0) // so that one block serves for all requests
	for i := 0; i < len(request.fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: request.fields[i], Value: request.fields[i+1]})
	}
	c.block = block.Bytes()
	c.decoder.SetEmitFunc(func(f hpack.HeaderField) { c.good = c.good || f.Name+": "+f.Value == c.want })
	io.WriteString(c.w, http2.ClientPreface)
	c.open(http2.Setting{ID: http2.SettingEnablePush}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	return c, c.w.Flush()
}

// run sends the requests, a new one for each response.
func (c *caller) run() error {
	for range streamsEach {
		c.begin()
	}
	for len(c.flying) > 0 {
		if err := c.flush(); err != nil {
			return err
		}
		frame, err := c.read()
		if err != nil {
			return err
		}
		if err := c.take(frame); err != nil {
			return err
		}
	}
	return nil
}

func (c *caller) begin() {
	if c.left == 0 {
		return
	}
	c.left--
	c.flying[c.stream] = &flight{begin: time.Now()}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: c.stream, BlockFragment: c.block, EndHeaders: true, EndStream: c.message == nil})
	if c.message != nil {
		c.WriteData(c.stream, true, c.message)
	}
	c.stream += 2
}

func (c *caller) take(frame http2.Frame) error {
	f := c.flying[frame.Header().StreamID]
	if f == nil {
		return nil
	}
	switch frame := frame.(type) {
	case *http2.HeadersFrame:
		c.good = f.good
		if _, err := c.decoder.Write(frame.HeaderBlockFragment()); err != nil {
			return err
		}
		f.good = c.good
	case *http2.DataFrame:
		f.size += len(frame.Data())
	case *http2.RSTStreamFrame:
		return fmt.Errorf("stream %d: %v", frame.StreamID, frame.ErrCode)
	}
	if !frame.Header().Flags.Has(http2.FlagDataEndStream) || frame.Header().Type > http2.FrameHeaders {
		return nil
	}
	if !f.good || f.size != c.size {
		return fmt.Errorf("stream %d: a body of %d bytes, want %d; %q came: %v", frame.Header().StreamID, f.size, c.size, c.want, f.good)
	}
	c.took = append(c.took, time.Since(f.begin))
	delete(c.flying, frame.Header().StreamID)
	c.begin()
	return nil
}

// h2Conn is what both ends of a connection over HTTP/2 need.
type h2Conn struct {
	*http2.Framer
	conn     io.ReadWriteCloser
	r        *bufio.Reader
	w        *bufio.Writer
	decoder  *hpack.Decoder
	received int // bytes of bodies since the window was last enlarged
}

const connWindow = 1 << 30

func newH2Conn(conn io.ReadWriteCloser) *h2Conn {
	c := &h2Conn{conn: conn, r: bufio.NewReaderSize(conn, 32<<10), w: bufio.NewWriterSize(conn, 32<<10), decoder: hpack.NewDecoder(4096, nil)}
	c.Framer = http2.NewFramer(c.w, c.r)
	c.SetReuseFrames()
	return c
}

// open writes what comes first.
func (c *h2Conn) open(settings ...http2.Setting) {
	c.WriteSettings(settings...)
	c.WriteWindowUpdate(0, connWindow)
}

// flush sends what was written, unless more has come that is to be read before.
func (c *h2Conn) flush() error {
	if c.r.Buffered() > 0 {
		return nil
	}
	return c.w.Flush()
}

// read returns the next frame that concerns requests.
func (c *h2Conn) read() (http2.Frame, error) {
	for {
		frame, err := c.ReadFrame()
		if err != nil {
			return nil, err
		}
		switch frame := frame.(type) {
		case *http2.SettingsFrame:
			if !frame.IsAck() {
				c.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !frame.IsAck() {
				c.WritePing(true, frame.Data)
			}
		case *http2.GoAwayFrame:
			return nil, fmt.Errorf("GOAWAY: %v %s", frame.ErrCode, frame.DebugData())
		case *http2.DataFrame:
			if c.received += int(frame.Length); c.received > connWindow/2 {
				c.WriteWindowUpdate(0, uint32(c.received))
				c.received = 0
			}
			return frame, nil
		default:
			return frame, nil
		}
		if err := c.flush(); err != nil {
			return nil, err
		}
	}
}
