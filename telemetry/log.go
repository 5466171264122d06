package telemetry

import (
	"context"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/lmittmann/tint"
)

// LogFormats are the words for log.format.
var LogFormats = []string{"auto", "text", "json"}

// LogOptions configure the log; the zero value is JSON or colour at level info on standard error.
type LogOptions struct {
	Format string     // one of LogFormats; "": auto
	Level  slog.Level // lines below are not written
	File   string     // "": standard error
}

// Log is pace's log: what its logger writes goes out beside who logs.
type Log struct {
	*slog.Logger
	sink *sink
}

// OpenLog opens the log.
func OpenLog(o LogOptions) (*Log, error) {
	s, err := openSink(o.File)
	if err != nil {
		return nil, err
	}
	terminal := o.File == "" && isTerminal(os.Stderr)
	return &Log{slog.New(newLogHandler(s, o, terminal)), s}, nil
}

// Reopen makes the next line go to a new file, after a rotation.
func (l *Log) Reopen() { l.sink.Reopen() }

// Close writes what waits; later lines are dropped and counted.
func (l *Log) Close() { l.sink.Close() }

func newLogHandler(w io.Writer, o LogOptions, terminal bool) slog.Handler {
	if o.Format == "json" || (o.Format != "text" && !terminal) {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level})
	}
	return tint.NewHandler(w, &tint.Options{Level: o.Level, TimeFormat: time.TimeOnly, NoColor: !terminal || os.Getenv("NO_COLOR") != ""})
}

// isTerminal says whether f is a character device; /dev/null is one that nobody reads.
func isTerminal(f *os.File) bool {
	i, err := f.Stat()
	return err == nil && i.Mode()&os.ModeCharDevice != 0
}

// logAccess writes the access line of the record.
func (t *Telemetry) logAccess(r *Record) {
	level := outcomes[r.Outcome].Level
	if !t.log.Enabled(context.Background(), level) {
		return
	}
	var attrs [24]slog.Attr
	n := 0
	for i := range facts {
		f := &facts[i]
		if f.Field == "" {
			continue
		}
		if v := f.value(r); !v.Equal(slog.Value{}) {
			attrs[n] = slog.Attr{Key: f.Field, Value: v}
			n++
		}
	}
	t.log.LogAttrs(context.Background(), level, "request", attrs[:n]...)
}
