package acme

import (
	"context"
	"io/fs"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
)

// storage is the folder with accounts, keys and certificates: folders have mode 0700, files 0600. Its locks are the
// kernel's, so that none outlives its process; certmagic's own are files, which it writes again every few seconds,
// and after a crash it says so on standard error, in the middle of pace's log.
type storage struct {
	*certmagic.FileStorage

	mu   sync.Mutex
	held map[string]func() // what releases each lock that this process holds; guarded by mu
}

func newStorage(folder string) *storage {
	return &storage{FileStorage: &certmagic.FileStorage{Path: folder}, held: map[string]func(){}}
}

// lockEvery is how often a lock is tried that another process has.
const lockEvery = 200 * time.Millisecond

// Lock implements certmagic.Locker.
func (s *storage) Lock(ctx context.Context, name string) error {
	for {
		if ok, err := s.TryLock(ctx, name); ok || err != nil {
			return err
		}
		select {
		case <-time.After(lockEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// TryLock implements certmagic.TryLocker.
func (s *storage) TryLock(_ context.Context, name string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[name] != nil {
		return false, nil
	}
	release, err := lockFile(s.lockName(name))
	if release == nil || err != nil {
		return false, err
	}
	s.held[name] = release
	return true, nil
}

// Unlock implements certmagic.Locker.
func (s *storage) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if release := s.held[name]; release != nil {
		release()
		delete(s.held, name)
	}
	return nil
}

// lockName returns the file that stands for a lock, as long as somebody holds it.
func (s *storage) lockName(name string) string {
	return filepath.Join(s.Path, "locks", certmagic.StorageKeys.Safe(name)+".lock")
}

// maxFiles is how many files of a storage are looked at.
const maxFiles = 10_000

// Loose returns the folders and files of a storage that others than their owner may use, at most limit of them, with
// their modes.
func Loose(folder string, limit int) (paths []string, modes []fs.FileMode) {
	looked := 0
	filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if looked++; err != nil || looked > maxFiles || len(paths) == limit {
			return fs.SkipAll
		}
		if i, err := e.Info(); err == nil && i.Mode().Perm()&0o077 != 0 && i.Mode()&fs.ModeSymlink == 0 {
			paths, modes = append(paths, path), append(modes, i.Mode().Perm())
		}
		return nil
	})
	return paths, modes
}
