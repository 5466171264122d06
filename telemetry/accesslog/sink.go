package accesslog

import (
	"io"
	"os"
	"sync"
	"time"

	"pace/telemetry"
)

// sinkLimit is how many bytes of lines may wait to be written.
const sinkLimit = 1 << 20

// sink writes whole lines to a file or to standard error, on a goroutine of its own. A full disk or a terminal
// that has stopped costs lines, which are counted, and never delays a request. Safe for concurrent use.
type sink struct {
	lost telemetry.Losses

	mu      sync.Mutex
	path    string // "": standard error
	waiting []byte // whole lines
	lines   int    // in waiting
	wake    chan struct{}
	next    io.Writer // replaces out; nil: out stays
	closed  bool
	done    chan struct{}
	out     io.Writer // only run uses it, and torn
	torn    bool      // a write ended in the middle of a line; the next line must not continue it
}

func newSink(path string, out io.Writer) *sink {
	s := &sink{
		path: path,
		wake: make(chan struct{}, 1),
		done: make(chan struct{}),
		out:  out,
	}
	go s.run()
	return s
}

// openFile opens path for appending; "" is standard error. It never waits.
func openFile(path string) (io.Writer, error) {
	if path == "" {
		return os.Stderr, nil
	}
	if f := standardStream(path); f != nil {
		return f, nil
	}
	mode := os.O_WRONLY
	if i, err := os.Stat(path); err == nil && i.Mode()&os.ModeNamedPipe != 0 {
		// A FIFO that is opened for writing alone makes us wait for its first reader, and breaks when its last
		// one leaves. Opened for both, it keeps lines for the next reader, up to the size of the pipe.
		mode = os.O_RDWR
	}
	f, err := os.OpenFile(path, mode|os.O_APPEND|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err // not f: as an io.Writer, a nil *os.File is not nil
	}
	return f, nil
}

// standardStream is standard output or error, if path leads there: /dev/stderr does, and so may a
// symbolic link. Such a path cannot be opened if the stream is a socket, as under a service manager, or
// belongs to another user. A regular file is opened by its own name, so that it can be rotated.
func standardStream(path string) *os.File {
	target, err := os.Stat(path)
	if err != nil {
		return nil
	}
	for fd, f := range map[string]*os.File{"1": os.Stdout, "2": os.Stderr} {
		named := path == f.Name() || path == "/dev/fd/"+fd || path == "/proc/self/fd/"+fd
		i, err := f.Stat()
		if err == nil && os.SameFile(i, target) && (named || !i.Mode().IsRegular()) {
			return f
		}
	}
	return nil
}

// Write takes one line. It never fails, and never waits for the disk.
func (s *sink) Write(line []byte) (int, error) {
	s.mu.Lock()
	if len(s.waiting)+len(line) > sinkLimit || s.closed {
		s.mu.Unlock()
		s.lost.Add(telemetry.BufferFull, 1)
		return len(line), nil
	}
	first := len(s.waiting) == 0
	s.waiting = append(s.waiting, line...)
	s.lines++
	s.mu.Unlock()
	if first {
		s.poke()
	}
	return len(line), nil
}

func (s *sink) poke() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Reopen makes all lines that are not written yet go to a new file of the same path, after a rotation. If it
// fails, the old file stays.
func (s *sink) Reopen() error {
	s.mu.Lock()
	path := s.path
	s.mu.Unlock()
	next, err := openFile(path)
	if err == nil {
		s.turnTo(path, next)
	}
	return err
}

// turnTo makes the lines that are not written yet go to next, which is open at path.
func (s *sink) turnTo(path string, next io.Writer) {
	s.mu.Lock()
	s.path = path
	next, s.next = s.next, next
	s.mu.Unlock()
	closeFile(next) // from a turn that run has not seen yet
	s.poke()
}

// Close writes what waits and ends the writer.
func (s *sink) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.poke()
	select {
	case <-s.done:
	case <-time.After(closeTimeout): // nobody reads the lines
	}
}

// closeTimeout limits how long pace waits at its end for its last lines to be written.
const closeTimeout = 2 * time.Second

func (s *sink) run() {
	defer close(s.done)
	var batch []byte
	for range s.wake {
		s.mu.Lock()
		batch, s.waiting = s.waiting, batch[:0]
		lines, next, last := s.lines, s.next, s.closed
		s.lines, s.next = 0, nil
		s.mu.Unlock()
		if next != nil {
			closeFile(s.out)
			s.out = next
		}
		s.write(batch, lines)
		if last {
			return
		}
	}
}

func (s *sink) write(batch []byte, lines int) {
	if len(batch) == 0 {
		return
	}
	if s.torn {
		if _, err := s.out.Write([]byte{'\n'}); err == nil {
			s.torn = false
		}
	}
	if n, err := s.out.Write(batch); err != nil {
		// A part of the batch may be in the file; nobody knows which lines are whole.
		s.lost.Add(telemetry.WriteFailed, lines)
		s.torn = s.torn || n > 0
	}
}

func closeFile(w io.Writer) {
	if f, ok := w.(*os.File); ok && f != os.Stderr && f != os.Stdout {
		f.Close()
	}
}
