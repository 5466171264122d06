package acme

import (
	"context"
	"log/slog"
)

// masking hides in lines of the log what is not to be shown. An error of the client has the URL of the CA, and that may
// have a secret.
type masking struct {
	slog.Handler
	mask func(string) string
}

// Handle implements slog.Handler.
func (m masking) Handle(ctx context.Context, r slog.Record) error {
	masked := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if a.Value.Kind() == slog.KindString && a.Key != "certificate" {
			a.Value = slog.StringValue(m.mask(a.Value.String()))
		}
		masked.AddAttrs(a)
		return true
	})
	return m.Handler.Handle(ctx, masked)
}
