package acme

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// newLogger leads what certmagic says into pace's log, at level debug, whatever its own level: what matters is in
// the lines that keep writes.
func newLogger(log *slog.Logger) *zap.Logger { return zap.New(&bridge{log: log}) }

// bridge is a zapcore.Core over slog.
type bridge struct {
	log  *slog.Logger
	with []zapcore.Field
}

// Enabled implements zapcore.Core.
func (b *bridge) Enabled(zapcore.Level) bool {
	return b.log.Enabled(context.Background(), slog.LevelDebug)
}

// With implements zapcore.Core.
func (b *bridge) With(fields []zapcore.Field) zapcore.Core {
	return &bridge{b.log, slices.Concat(b.with, fields)}
}

// Check implements zapcore.Core.
func (b *bridge) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(e.Level) {
		return c.AddCore(e, b)
	}
	return c
}

// Write implements zapcore.Core.
func (b *bridge) Write(e zapcore.Entry, fields []zapcore.Field) error {
	all := zapcore.NewMapObjectEncoder()
	for _, f := range slices.Concat(b.with, fields) {
		f.AddTo(all)
	}
	attrs := []slog.Attr{slog.String("says", e.Message)}
	for _, key := range slices.Sorted(maps.Keys(all.Fields)) {
		attrs = append(attrs, slog.String(key, clip(fmt.Sprint(all.Fields[key]))))
	}
	b.log.LogAttrs(context.Background(), slog.LevelDebug, "certmagic", attrs...)
	return nil
}

// Sync implements zapcore.Core.
func (*bridge) Sync() error { return nil }

// clip cuts what a CA, or certmagic, says at length.
func clip(s string) string { return s[:min(len(s), 1<<10)] }
