// Package accesslog is pace's log: lines about pace itself, and one line for each request, which is
// derived from its ended record. A log that cannot be written drops lines and counts them, and never delays a
// request. It must not know the other signals, or any package of pace but telemetry.
package accesslog

import (
	"io"
	"log/slog"
	"os"
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
	*slog.Logger
	sink *sink

	json     bool // access lines are JSON, rendered by [appendLine]
	terminal bool // a person reads the lines: access lines are laid out by [terminalLine]
	colours  bool
}

// Open opens the log. Messages of OpenTelemetry's libraries go to the log that was opened last.
func Open(o Options) (*Log, error) {
	s, err := openSink(o.File)
	if err != nil {
		return nil, err
	}
	out, isFile := s.out.(*os.File)
	terminal := isFile && (out == os.Stderr || out == os.Stdout) && isTerminal(out)
	json := o.Format == "json" || (o.Format != "text" && !terminal)
	colours := terminal && os.Getenv("NO_COLOR") == "" // https://no-color.org
	var w io.Writer = s
	if terminal && !json {
		w = rowWriter{s, func() int { return terminalColumns(out) }}
	}
	l := &Log{slog.New(newLogHandler(w, o.Level, json, colours)), s, json, terminal, colours}
	l.hearLibraries()
	return l, nil
}

// hearLibraries sends the messages of OpenTelemetry's libraries to l instead of standard error.
func (l *Log) hearLibraries() {
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

func newLogHandler(w io.Writer, level slog.Level, json, colours bool) slog.Handler {
	if json {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level})
	}
	return tint.NewTextHandler(w, &tint.Options{Level: level, TimeFormat: time.TimeOnly, NoColor: !colours})
}

// isTerminal reports whether f is a character device. /dev/null is one, too.
func isTerminal(f *os.File) bool {
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}
