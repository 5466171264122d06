package accesslog

import (
	"context"
	"iter"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"

	"pace/telemetry"
)

// Publish implements [telemetry.Signal]: it writes the access line of an ended record.
func (l *Log) Publish(m telemetry.Moment, r *telemetry.Record) {
	if m != telemetry.Ended || !r.HasLine() {
		return
	}
	level := r.Outcome.Info().Level
	if !l.Enabled(context.Background(), level) {
		return
	}
	f := l.form.Load()
	if f.json {
		b := lines.Get().(*[]byte)
		*b = appendLine((*b)[:0], r, level)
		l.sink.Write(*b)
		lines.Put(b)
		return
	}
	if f.terminal {
		l.sink.Write(terminalLine(r, level, terminalColumns(os.Stderr), f.colours))
		return
	}
	attrs := make([]slog.Attr, 0, len(telemetry.Facts()))
	for name, value := range fields(r) {
		attrs = append(attrs, slog.Attr{Key: name, Value: value})
	}
	l.LogAttrs(context.Background(), level, "request", attrs...)
}

// fields yields the fields of the access line that are present, in order.
func fields(r *telemetry.Record) iter.Seq2[string, slog.Value] {
	return func(yield func(string, slog.Value) bool) {
		facts := telemetry.Facts()
		for i := range facts {
			f := &facts[i]
			if f.Field == "" {
				continue
			}
			if v := f.Value(r); !telemetry.Absent(v) && !yield(f.Field, v) {
				return
			}
		}
	}
}

var lines = sync.Pool{New: func() any { return new([]byte) }}

// appendLine renders exactly what slog's JSONHandler would, at a third of its cost, because every request has
// a line.
func appendLine(b []byte, r *telemetry.Record, level slog.Level) []byte {
	b = r.End.AppendFormat(append(b, `{"time":"`...), time.RFC3339Nano)
	b = append(append(append(b, `","level":"`...), level.String()...), `","msg":"request"`...)
	for name, value := range fields(r) {
		b = append(append(append(b, ',', '"'), name...), '"', ':')
		b = appendJSON(b, value)
	}
	return append(b, '}', '\n')
}

func appendJSON(b []byte, v slog.Value) []byte {
	switch v.Kind() {
	case slog.KindString:
		return telemetry.AppendQuoted(b, v.String())
	case slog.KindInt64:
		return strconv.AppendInt(b, v.Int64(), 10)
	case slog.KindBool:
		return strconv.AppendBool(b, v.Bool())
	case slog.KindAny:
		return v.Any().(telemetry.Hops).AppendJSON(b)
	case slog.KindFloat64:
		return strconv.AppendFloat(b, v.Float64(), 'f', -1, 64) // a duration in ms: never an exponent
	}
	panic("pace: BUG: a fact of kind " + v.Kind().String())
}
