//go:build unix

package acme

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// lockFile locks a file against other processes; release is nil if one has it.
func lockFile(name string) (release func(), err error) {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil && isStill(f, name) {
		return func() {
			os.Remove(name)
			f.Close()
		}, nil
	}
	f.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = nil
	}
	return nil, err
}

// isStill reports whether a file has the name with which it was opened: who had it locked before may have removed it.
func isStill(f *os.File, name string) bool {
	opened, err := f.Stat()
	named, err2 := os.Stat(name)
	return err == nil && err2 == nil && os.SameFile(opened, named)
}
