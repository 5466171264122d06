package otlp

import (
	"errors"
	"iter"
	"net"
	"reflect"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// PartialSuccess is the error of an export that the collector accepted in part, or with a warning (OTLP's
// Export…PartialSuccess).
type PartialSuccess struct {
	Err      error // holds the collector's message
	Rejected int64 // items that it did not accept; 0: it accepted all, and warns
}

// Error implements error.
func (p *PartialSuccess) Error() string { return p.Err.Error() }

// Unwrap returns the library's error.
func (p *PartialSuccess) Unwrap() error { return p.Err }

// structs yields the errors in the tree of err that are structs. In these a library's exporter says what the
// collector responded: it has types of its own for that in each of its packages, all internal, so they are
// recognized by their fields. Reading the responses before the library does would need an HTTP client of our own,
// with which the library ignores the variables about TLS. If the fields change, tests fail.
func structs(err error) iter.Seq[reflect.Value] {
	return func(yield func(reflect.Value) bool) { walk(err, yield) }
}

func walk(err error, yield func(reflect.Value) bool) bool {
	if v := reflect.ValueOf(err); v.Kind() == reflect.Struct && !yield(v) {
		return false
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return walk(e.Unwrap(), yield)
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if !walk(one, yield) {
				return false
			}
		}
	}
	return true
}

// asPartial returns an exporter's error as a PartialSuccess if it is one.
func asPartial(err error) error {
	type fields struct {
		ErrorMessage  string
		RejectedItems int64
		RejectedKind  string
	}
	for value := range structs(err) {
		if value.CanConvert(reflect.TypeFor[fields]()) {
			f := value.Convert(reflect.TypeFor[fields]()).Interface().(fields)
			return &PartialSuccess{err, f.RejectedItems}
		}
	}
	return err
}

// retryable reports whether the collector may take the same batch later, and how long it asks to wait until then.
func retryable(err error) (again bool, asked time.Duration) {
	if _, partial := err.(*PartialSuccess); err == nil || partial {
		return false, 0
	}
	if s, ok := status.FromError(err); ok {
		return retryableStatus(s)
	}
	for value := range structs(err) {
		// The library has seen a status of HTTP that means later: 429, 502, 503 or 504.
		if throttle := value.FieldByName("throttle"); throttle.IsValid() && throttle.Kind() == reflect.Int64 {
			return true, time.Duration(throttle.Int())
		}
	}
	_, lost := errors.AsType[net.Error](err) // no response came
	return lost, 0
}

// retryableStatus is the table of the OTLP specification for gRPC.
func retryableStatus(s *status.Status) (again bool, asked time.Duration) {
	info := false
	for _, detail := range s.Details() {
		if r, ok := detail.(interface{ GetRetryDelay() *durationpb.Duration }); ok {
			info, asked = true, r.GetRetryDelay().AsDuration()
		}
	}
	switch s.Code() {
	case codes.Canceled, codes.DeadlineExceeded, codes.Aborted, codes.OutOfRange, codes.Unavailable, codes.DataLoss:
		return true, asked
	case codes.ResourceExhausted:
		return info, asked
	}
	return false, 0
}
