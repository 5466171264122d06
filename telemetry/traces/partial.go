package traces

import (
	"errors"
	"reflect"
)

// partialSuccess is the error of an export that the collector answered, but not with a plain yes
// (OTLP's ExportTracePartialSuccess).
type partialSuccess struct {
	error          // holds the collector's message
	rejected int64 // spans that it did not take; 0: it took all, and warns
}

func (p *partialSuccess) Unwrap() error { return p.error }

// asPartial returns a client's error as a partialSuccess if it is one. The library keeps the type
// of its error internal, one for each protocol, so that only its fields tell it; to see the answers
// before the library does would take an HTTP client of our own, for which it ignores the variables
// about TLS. Should the fields change, a whole batch counts as lost again, and a test fails.
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
