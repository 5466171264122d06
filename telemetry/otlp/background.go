package otlp

import (
	"context"
	"log/slog"
	"runtime/debug"
	"sync"
)

// Background is the goroutine that empties the queue of a signal, as far as it is the same for all signals: whatever is
// put into the queue comes out of it, the end does not wait for ever, and a panic is logged once.
type Background struct {
	Context context.Context // of every export; it ends when the time of Shutdown is over

	what     string
	log      *slog.Logger
	giveUp   context.CancelFunc
	ended    chan struct{} // closed when the function of Start has returned
	panicked bool          // a line says so; only the goroutine uses it

	// Whoever has entered holds ending for reading. Otherwise a record could be put into the queue after the last one has
	// been taken from it, and would be lost without being counted.
	ending sync.RWMutex
	closed bool // guarded by ending
}

// NewBackground returns a Background whose messages call what is exported by this name, such as spans.
func NewBackground(what string, log *slog.Logger) *Background {
	b := &Background{what: what, log: log, ended: make(chan struct{})}
	b.Context, b.giveUp = context.WithCancel(context.Background())
	return b
}

// Start calls run on the goroutine. run must return once the queue is closed and empty.
func (b *Background) Start(run func()) {
	go func() {
		defer close(b.ended)
		run()
	}()
}

// Enter reports whether a record may be put into the queue. If so, the queue stays open until Leave, before which the
// caller must not block.
func (b *Background) Enter() bool {
	b.ending.RLock()
	if b.closed {
		b.ending.RUnlock()
		return false
	}
	return true
}

// Leave ends what Enter has allowed.
func (b *Background) Leave() { b.ending.RUnlock() }

// Shutdown closes the queue, waits until it is empty, and ends the exporter. When ctx ends, so do exports. Call it once.
func (b *Background) Shutdown(ctx context.Context, closeQueue func(), exporter interface{ Shutdown(context.Context) error }) {
	b.ending.Lock()
	b.closed = true
	closeQueue()
	b.ending.Unlock()
	defer context.AfterFunc(ctx, b.giveUp)() // an export may hang
	<-b.ended
	if err := exporter.Shutdown(ctx); err != nil {
		b.log.LogAttrs(ctx, slog.LevelWarn, "the exporter of "+b.what+" did not end cleanly", slog.Any("error", err))
	}
}

// Panicked logs that the goroutine has panicked. It does so once, because clients may cause it any number of times.
func (b *Background) Panicked(p any) {
	if b.panicked {
		return
	}
	b.panicked = true
	b.log.LogAttrs(b.Context, slog.LevelError, "bug of pace: it panicked while it made "+b.what,
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}
