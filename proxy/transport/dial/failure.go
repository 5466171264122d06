package dial

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"

	"pace/proxy/transport"
)

// dialErrors are the errors of several addresses of one name, in the order in which they came.
type dialErrors []error

func (e dialErrors) Error() string {
	texts := make([]string, len(e))
	for i, err := range e {
		texts[i] = err.Error()
	}
	return strings.Join(texts, "; ")
}

func (e dialErrors) Unwrap() []error { return e }

// connectKind returns the kind of a failure to connect. If several addresses were tried and one was silent, the
// kind is a timeout, since that one took the time. Exhausted is the kind only if every address failed for it.
func connectKind(err error) transport.Kind {
	each, ok := err.(dialErrors)
	if !ok {
		each = dialErrors{err}
	}
	kind := transport.Exhausted
	for _, err := range each {
		timeout, isTimeout := errors.AsType[net.Error](err)
		switch {
		case errors.Is(err, context.DeadlineExceeded), isTimeout && timeout.Timeout():
			return transport.ConnectTimeout
		case !exhausted(err):
			kind = transport.ConnectFailed
		}
	}
	return kind
}

// shortages are the errors of a machine that has no more descriptors, ports or memory.
var shortages = []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// exhausted reports whether err was caused by this machine, and not by the backend.
func exhausted(err error) bool {
	return slices.ContainsFunc(shortages, func(s error) bool { return errors.Is(err, s) })
}
