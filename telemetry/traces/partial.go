package traces

import (
	"errors"
	"reflect"
)

// partialSuccess is the error of an export that the collector accepted in part, or with a warning (OTLP's
// ExportTracePartialSuccess).
type partialSuccess struct {
	error          // holds the collector's message
	rejected int64 // spans that it did not accept; 0: it accepted all, and warns
}

func (p *partialSuccess) Unwrap() error { return p.error }

// asPartial returns a client's error as a partialSuccess if it is one. The library has an internal type for this
// error in each protocol, so it is recognized by its fields. Reading the responses before the library does would
// need an HTTP client of our own, with which the library ignores the variables about TLS. If the fields change, a
// whole batch counts as lost, and a test fails.
func asPartial(err error) error {
	type fields struct {
		ErrorMessage  string
		RejectedItems int64
		RejectedKind  string
	}
	found, ok := errors.AsType[interface {
		error
		As(any) bool
	}](err)
	if value := reflect.ValueOf(found); ok && value.CanConvert(reflect.TypeFor[fields]()) {
		f := value.Convert(reflect.TypeFor[fields]()).Interface().(fields)
		return &partialSuccess{err, f.RejectedItems}
	}
	return err
}
