// Package watch notices that files have changed, in whatever way they are replaced. It must not know their
// content.
package watch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// PollEvery is how often the files are read if the system does not report changes of files.
const PollEvery = 5 * time.Second

// settles is how long no event may come until the file counts as completely written.
const settles = 100 * time.Millisecond

// Files calls changed whenever the content of one of the files may have changed, until ctx ends. When the system
// stops reporting changes, it calls polling with the reason, and from then on calls changed each PollEvery.
//
// It watches folders and not files: an editor replaces a file by renaming a new one, and a watch of the file
// would stay with the old one. A Kubernetes ConfigMap changes by replacing a symbolic link to a folder, so
// the folder of each link on the path to a file is watched, too.
func Files(ctx context.Context, files func() []string, changed func(), polling func(error)) {
	events := make(chan struct{}, 1)
	w := folderWatcher{changed: events}
	defer w.close()
	for {
		err := w.follow(watchedPaths(files()))
		if err != nil && !w.failed {
			polling(err)
		}
		w.failed = err != nil
		if !await(ctx, events, err == nil) {
			return
		}
		for quiet(ctx, events) {
		}
		if ctx.Err() == nil {
			changed()
		}
	}
}

// await waits for an event, or for PollEvery if events are not reported. It reports whether ctx is still alive.
func await(ctx context.Context, events <-chan struct{}, reported bool) bool {
	var poll <-chan time.Time
	if !reported {
		timer := time.NewTimer(PollEvery)
		defer timer.Stop()
		poll = timer.C
	}
	select {
	case <-events:
	case <-poll:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

// quiet waits until no event comes for the time settles. It returns true as soon as one comes.
func quiet(ctx context.Context, events <-chan struct{}) (came bool) {
	timer := time.NewTimer(settles)
	defer timer.Stop()
	select {
	case <-events:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	return false
}

// Digests returns a digest of the content of each file.
func Digests(files []string) (sums []string) {
	for _, file := range files {
		sums = append(sums, digest(file))
	}
	return sums
}

// digest returns a digest of the content of a file. It reads only regular files: a pipe, for example, may block
// its reader for ever, and cannot be read a second time.
func digest(file string) string {
	if i, err := os.Stat(file); err != nil || !i.Mode().IsRegular() {
		return "no regular file"
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%x", sha256.Sum256(content))
}

// watchedPaths returns the paths whose change may change the content of one of the files: that of the file
// itself, and that of each symbolic link on the path to it.
func watchedPaths(files []string) []string {
	found := map[string]bool{}
	for _, file := range files {
		path, err := filepath.Abs(file)
		for links := 0; err == nil && links < maxLinks; links++ {
			link, rest := firstLink(path)
			if link == "" {
				break
			}
			found[link] = true
			var target string
			if target, err = os.Readlink(link); err == nil {
				if !filepath.IsAbs(target) {
					target = filepath.Join(filepath.Dir(link), target)
				}
				path = filepath.Join(target, rest)
			}
		}
		if err == nil {
			found[path] = true
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// maxLinks limits how many symbolic links are followed, because they may form a loop.
const maxLinks = 40

// firstLink returns the first symbolic link in an absolute path, and the rest of the path; "" if there is none.
func firstLink(path string) (link, rest string) {
	for i := 1; i <= len(path); i++ {
		if i < len(path) && path[i] != filepath.Separator {
			continue
		}
		if info, err := os.Lstat(path[:i]); err == nil && info.Mode()&os.ModeSymlink != 0 {
			return path[:i], strings.TrimPrefix(path[i:], string(filepath.Separator))
		}
	}
	return "", ""
}

// folderWatcher reports that something may have changed at one of its paths.
type folderWatcher struct {
	changed chan<- struct{} // of size 1
	failed  bool            // not all of the paths can be watched

	notify *fsnotify.Watcher // nil: there is none
	paths  atomic.Pointer[[]string]
}

// follow watches these paths, and no others. After an error, it may miss a change of one of them.
func (w *folderWatcher) follow(paths []string) (err error) {
	w.paths.Store(&paths)
	if w.notify == nil {
		if w.notify, err = fsnotify.NewWatcher(); err != nil {
			w.notify = nil
			return err
		}
		go w.pass(w.notify)
	}
	var folders []string
	for _, path := range paths {
		folders = append(folders, filepath.Dir(path))
	}
	watched := w.notify.WatchList()
	for _, folder := range watched {
		if !slices.Contains(folders, folder) {
			w.notify.Remove(folder)
		}
	}
	fresh := false
	for _, folder := range folders {
		if !slices.Contains(watched, folder) {
			fresh = true
			if err := w.notify.Add(folder); err != nil {
				return err
			}
		}
	}
	if fresh { // what changed before it was watched is seen by looking
		w.report()
	}
	return nil
}

// pass reports each event about one of the paths. It also reports an error, because events may be lost then.
func (w *folderWatcher) pass(from *fsnotify.Watcher) {
	for {
		select {
		case e, open := <-from.Events:
			if !open {
				return
			}
			concerns := func(path string) bool { return e.Name == path || e.Name == filepath.Dir(path) }
			if slices.ContainsFunc(*w.paths.Load(), concerns) {
				w.report()
			}
		case _, open := <-from.Errors:
			if !open {
				return
			}
			w.report()
		}
	}
}

func (w *folderWatcher) report() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

func (w *folderWatcher) close() {
	if w.notify != nil {
		w.notify.Close()
	}
}
