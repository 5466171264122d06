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

// undialed names how connecting failed. Of several addresses, one that was silent decides, since it
// took all the time; what pace lacks decides only if it was lacking for each of them.
func undialed(err error) transport.Kind {
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

// lacks are the errors of a machine that has no more descriptors, ports or memory to give.
var lacks = []error{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.ENOMEM}

// exhausted reports whether err is this machine's doing, and no backend's.
func exhausted(err error) bool {
	return slices.ContainsFunc(lacks, func(lack error) bool { return errors.Is(err, lack) })
}
