//go:build !linux

package pipe

import "errors"

// Supported says whether this system can move bytes between connections: only Linux can.
const Supported = false

func open() (*Pipe, error) { return nil, errors.ErrUnsupported }

func (p *Pipe) close() {}

func splice(from, to, n int) (int, error) { return 0, errors.ErrUnsupported }

func writable(int) bool { return false }
