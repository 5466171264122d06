package http2

import (
	"bufio"
	"errors"
	"io"

	"golang.org/x/net/http2"

	"pace/proxy/transport"
	"pace/proxy/transport/http2/header"
)

// reader is what the goroutine that reads keeps. Nobody else uses it.
type reader struct {
	framer *http2.Framer
	block  header.Block
	owed   uint32 // bytes of bodies that have come, and that the backend may not send again yet on the connection
}

// readBytes is how much one system call reads at most.
const readBytes = 16 << 10

// connStep is after how many bytes of bodies the backend may send as many again on the connection. They need not have
// been taken by then: each stream has a window of its own, and the connection's has room for all.
const connStep = connWindow / 64

// read is the goroutine that reads.
func (c *conn) read() {
	defer c.catch()
	r := &c.in
	r.framer = http2.NewFramer(nil, bufio.NewReaderSize(c.Conn, readBytes))
	r.framer.SetReuseFrames()
	r.framer.SetMaxReadFrameSize(uint32(usualLimits.frame))
	r.block.Begin(c.pool.o.MaxHeaderBytes)
	for {
		f, err := r.framer.ReadFrame()
		if e, ok := errors.AsType[http2.StreamError](err); ok {
			err = http2.ConnectionError(e.Code) // the frame is lost, and perhaps fields that the next ones refer to
		}
		if err == nil {
			err = c.received(f)
		}
		if err != nil {
			c.endBy(err)
			return
		}
	}
}

// endBy ends the connection because of an error of reading, or of what was read.
func (c *conn) endBy(err error) {
	code := http2.ErrCodeProtocol
	switch e, ok := errors.AsType[http2.ConnectionError](err); {
	case ok:
		code = http2.ErrCode(e)
	case errors.Is(err, http2.ErrFrameTooLarge):
		code = http2.ErrCodeFrameSize
	case errors.Is(err, io.ErrUnexpectedEOF) && !c.hasSpoken(): // something, but no frame
	default:
		c.lose(err)
		return
	}
	c.refuse(code)
}

// hasSpoken reports whether a frame has come.
func (c *conn) hasSpoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames > 0
}

// The errors for what the backend must not send.
const (
	errProtocol = http2.ConnectionError(http2.ErrCodeProtocol)
	errFlow     = http2.ConnectionError(http2.ErrCodeFlowControl)
	errCalm     = http2.ConnectionError(http2.ErrCodeEnhanceYourCalm)
)

// received does what a frame asks for. An error ends the connection.
func (c *conn) received(f http2.Frame) error {
	c.mu.Lock()
	isFirst := c.frames == 0
	c.frames++
	if t := f.Header().Type; t == http2.FrameHeaders || t == http2.FrameData {
		c.resets.quiet = false
	}
	c.mu.Unlock()
	if s, ok := f.(*http2.SettingsFrame); isFirst && (!ok || s.IsAck()) {
		return errProtocol
	}
	switch f := f.(type) {
	case *http2.DataFrame:
		return c.receivedData(f)
	case *http2.HeadersFrame:
		return c.receivedBlock(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded(), f.StreamEnded(), true)
	case *http2.ContinuationFrame:
		return c.receivedBlock(f.StreamID, f.HeaderBlockFragment(), f.HeadersEnded(), false, false)
	case *http2.WindowUpdateFrame:
		return c.receivedWindow(f.StreamID, int64(f.Increment))
	case *http2.RSTStreamFrame:
		return c.receivedReset(f)
	case *http2.SettingsFrame:
		return c.receivedSettings(f)
	case *http2.PingFrame:
		return c.receivedPing(f)
	case *http2.GoAwayFrame:
		c.goneAway(f.LastStreamID)
	case *http2.PushPromiseFrame:
		return errProtocol // they are switched off
	}
	return nil // of another type: RFC 9113 §4.1 has it ignored
}

// failStream ends the exchange of a stream, if it is open. The stream is reset with this code when the exchange is
// closed. The error is that there never was such a stream.
func (c *conn) failStream(id uint32, kind transport.Kind, why error, code http2.ErrCode) error {
	x, was := c.stream(id)
	switch {
	case x != nil:
		x.refuse(stream{c, id}, kind, why, code)
	case !was:
		return errProtocol
	}
	return nil
}

// receivedData hands a piece of a body to its exchange.
func (c *conn) receivedData(f *http2.DataFrame) error {
	x, was := c.stream(f.StreamID)
	if !was {
		return errProtocol
	}
	if c.in.owed += f.Length; c.in.owed >= connStep {
		c.mu.Lock()
		c.queueWindow(0, c.in.owed)
		c.flushLocked()
		c.mu.Unlock()
		c.in.owed = 0
	}
	if x != nil {
		x.gotData(stream{c, f.StreamID}, f.Data(), int(f.Length), f.StreamEnded())
	}
	return nil
}

// receivedBlock reads a part of a header block, and hands the header to its exchange when it is whole. isFirst says that
// a HEADERS frame has brought it, and end, that this frame ends the stream.
func (c *conn) receivedBlock(id uint32, part []byte, whole, end, isFirst bool) error {
	b := &c.in.block
	if isFirst {
		if _, was := c.stream(id); !was {
			return errProtocol
		}
		b.Reset(end)
	}
	if err := b.Add(part, whole); err != nil {
		if b.TooLarge {
			c.failStream(id, transport.HeaderTooLarge, errTooLarge, http2.ErrCodeCancel)
		}
		return err
	}
	if x, _ := c.stream(id); whole && x != nil {
		x.gotHeader(stream{c, id}, b)
	}
	return nil
}

// receivedWindow notes that more of a body may be sent, or of all.
func (c *conn) receivedWindow(id uint32, more int64) error {
	switch ok := c.widen(id, more); {
	case ok:
		return nil
	case id == 0:
		return errFlow
	}
	return c.failStream(id, transport.Invalid, errMalformed, http2.ErrCodeFlowControl)
}

// widen makes a window larger. It returns false if it is too large, or there is no such stream.
func (c *conn) widen(id uint32, more int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	window := &c.window
	if id > 0 {
		x := c.streams[id]
		if x == nil {
			return false
		}
		window = &x.window
	}
	*window += more
	c.unblockLocked()
	return *window <= maxWindow
}

// maxWindow is how large a window may be (RFC 9113 §6.9.1).
const maxWindow = 1<<31 - 1

// receivedReset ends the exchange of a stream that the backend has reset.
func (c *conn) receivedReset(f *http2.RSTStreamFrame) error {
	x, was := c.stream(f.StreamID)
	switch {
	case x != nil:
		x.wasReset(stream{c, f.StreamID}, f.ErrCode)
	case !was:
		return errProtocol
	}
	return nil
}

// receivedPing sends a PING back.
func (c *conn) receivedPing(f *http2.PingFrame) error {
	if f.IsAck() {
		c.ponged()
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queuePing(true, f.Data)
	return c.acknowledgeLocked()
}

// acknowledgeLocked has what the backend has asked for written, unless it asks for too much. c.mu is held.
func (c *conn) acknowledgeLocked() error {
	if len(c.out.bytes) > maxAcks {
		return errCalm
	}
	c.flushLocked()
	return nil
}

// receivedSettings notes what the backend allows.
func (c *conn) receivedSettings(f *http2.SettingsFrame) error {
	if f.IsAck() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	window := c.limits.window
	if err := f.ForeachSetting(c.set); err != nil {
		return err
	}
	for _, x := range c.streams { // their windows change, too, and may become negative (RFC 9113 §6.9.2)
		if x.window += c.limits.window - window; x.window > maxWindow {
			return errFlow
		}
	}
	c.unblockLocked()
	if !c.isSettled() {
		close(c.settled)
	}
	c.queueHead(0, http2.FrameSettings, http2.FlagSettingsAck, 0)
	return c.acknowledgeLocked()
}

// set notes one of the backend's settings. c.mu is held.
func (c *conn) set(s http2.Setting) error {
	if err := s.Valid(); err != nil {
		return err
	}
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		c.limits.streams = s.Val
	case http2.SettingMaxFrameSize:
		c.limits.frame = int(s.Val)
	case http2.SettingMaxHeaderListSize:
		c.limits.header = s.Val
	case http2.SettingInitialWindowSize:
		c.limits.window = int64(s.Val)
	}
	return nil
}
