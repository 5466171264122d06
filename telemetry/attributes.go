package telemetry

import (
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
)

// Attributes returns the details of one thing as attributes of OpenTelemetry, without those that are absent.
func Attributes[T any](details []Detail[T], of *T) []attribute.KeyValue {
	list := make([]attribute.KeyValue, 0, len(details))
	for i := range details {
		list = AppendAttribute(list, details[i].Name, details[i].Value(of))
	}
	return list
}

// AppendAttribute appends name with v, unless v is absent.
func AppendAttribute(list []attribute.KeyValue, name string, v slog.Value) []attribute.KeyValue {
	switch v.Kind() {
	case slog.KindString:
		return append(list, attribute.String(name, v.String()))
	case slog.KindInt64:
		return append(list, attribute.Int64(name, v.Int64()))
	case slog.KindFloat64:
		return append(list, attribute.Float64(name, v.Float64()))
	case slog.KindBool:
		return append(list, attribute.Bool(name, v.Bool()))
	}
	return list
}

// Absent reports whether a fact or a detail has no value.
func Absent(v slog.Value) bool { return v.Kind() == slog.KindAny && v.Any() == nil }
