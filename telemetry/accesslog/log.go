// Package accesslog is pace's log: lines about pace itself, and one line for each request, which is
// derived from its ended record. A log that cannot be written drops lines and counts them, and never delays a
// request. It must not know the other signals, or any package of pace but telemetry.
package accesslog

import (
	"context"
	"io"
	"log"
	"log/slog"
	"math"
	"os"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/lmittmann/tint"
	"go.opentelemetry.io/otel"

	"pace/telemetry"
)

// Formats are the words for log.format.
var Formats = []string{"auto", "text", "json"}

// Options configure the log; the zero value is JSON or colour at level info on standard error.
type Options struct {
	Format string     // one of Formats; "": auto
	Level  slog.Level // lines below are not written
	File   string     // "": standard error
}

// Log is pace's log. Its lines are written on a goroutine of its own.
type Log struct {
	*slog.Logger // writes in the form in force
	sink         *sink
	level        levels
	form         atomic.Pointer[form] // replaced, never changed
}

// form is how lines are written.
type form struct {
	slog.Handler      // of all levels: the Log has asked for the level already
	json         bool // access lines are JSON, rendered by [appendLine]
	terminal     bool // a person reads the lines: access lines are laid out by [terminalLine]
	colours      bool
}

// Open opens the log. Messages of OpenTelemetry's libraries go to the log that was opened last.
func Open(o Options) (*Log, error) {
	out, err := openFile(o.File)
	if err != nil {
		return nil, err
	}
	l := &Log{sink: newSink(o.File, out)}
	l.Logger = slog.New(inForce{log: l})
	l.level.set(o.Level)
	l.form.Store(newForm(l.sink, out, o.Format))
	l.hearLibraries()
	return l, nil
}

// newForm returns how lines are written by s to out.
func newForm(s *sink, out io.Writer, format string) *form {
	file, isFile := out.(*os.File)
	f := &form{terminal: isFile && (file == os.Stderr || file == os.Stdout) && isTerminal(file)}
	f.json = format == "json" || format != "text" && !f.terminal
	f.colours = f.terminal && os.Getenv("NO_COLOR") == "" // https://no-color.org
	var w io.Writer = s
	if f.terminal && !f.json {
		w = rowWriter{s, func() int { return terminalColumns(file) }}
	}
	f.Handler = newLogHandler(w, f.json, f.colours)
	return f
}

// Prepare opens what o needs, and returns what puts o in force. An error, and not calling change, leaves the
// log as it is. Every line is written whole, before or after the change.
func (l *Log) Prepare(o Options) (change func(), err error) {
	out, err := openFile(o.File)
	if err != nil {
		return nil, err
	}
	return func() {
		l.level.set(o.Level)
		l.form.Store(newForm(l.sink, out, o.Format))
		l.sink.turnTo(o.File, out)
	}, nil
}

// inForce is the handler of the Log's logger: it passes each line to the form in force.
type inForce struct {
	log  *Log
	with func(slog.Handler) slog.Handler // what a logger adds to its lines; nil: nothing
}

// Enabled implements [slog.Handler].
func (h inForce) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.log.level.Level()
}

// Handle implements [slog.Handler].
func (h inForce) Handle(ctx context.Context, r slog.Record) error {
	f := h.log.form.Load()
	if h.with != nil {
		return h.with(f.Handler).Handle(ctx, r)
	}
	return f.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (h inForce) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.adding(func(f slog.Handler) slog.Handler { return f.WithAttrs(attrs) })
}

// WithGroup implements [slog.Handler].
func (h inForce) WithGroup(name string) slog.Handler {
	return h.adding(func(f slog.Handler) slog.Handler { return f.WithGroup(name) })
}

func (h inForce) adding(add func(slog.Handler) slog.Handler) slog.Handler {
	with := h.with
	h.with = func(f slog.Handler) slog.Handler {
		if with != nil {
			f = with(f)
		}
		return add(f)
	}
	return h
}

// hearLibraries sends the messages of libraries to l instead of standard error: those of OpenTelemetry's, and those
// in Go's standard log, to which net/http writes what is wrong with a backend that is checked over HTTP/2. The check
// reports that, too, so they are for debugging.
func (l *Log) hearLibraries() {
	log.SetFlags(0)
	log.SetOutput(slog.NewLogLogger(l.Handler(), slog.LevelDebug).Writer())
	otel.SetLogger(logr.FromSlogHandler(l.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		l.Warn("OpenTelemetry complains", slog.Any("error", err))
	}))
}

// Reopen makes the next line go to a new file, after a rotation. If none can be opened, the old file stays.
func (l *Log) Reopen() {
	if err := l.sink.Reopen(); err != nil {
		l.Error("the log file cannot be opened again; the old one is kept", slog.Any("error", err))
	}
}

// Lost counts the lines that were lost.
func (l *Log) Lost() *telemetry.Losses { return &l.sink.lost }

// Close writes what waits; later lines are dropped and counted.
func (l *Log) Close() { l.sink.Close() }

func newLogHandler(w io.Writer, json, colours bool) slog.Handler {
	if json {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: allLevels})
	}
	return tint.NewTextHandler(w, &tint.Options{Level: allLevels, TimeFormat: time.TimeOnly, NoColor: !colours})
}

// allLevels lets a handler write what the Log has let pass.
const allLevels = slog.Level(math.MinInt)

// isTerminal reports whether f is a character device. /dev/null is one, too.
func isTerminal(f *os.File) bool {
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}
