// Package watch notices that files have changed, however they are replaced. It must not know what is in them.
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

// PollEvery is the time between two looks where the system does not report changes of files.
const PollEvery = 5 * time.Second

// settles is the silence after the last event: then a file is taken to be whole.
const settles = 100 * time.Millisecond

// Files calls changed whenever one of the files may have another content than before, until ctx ends. It calls
// polling with the reason when the system stops reporting changes; from then on it looks each PollEvery.
//
// It watches folders and not files: who replaces a file renames another one to its name, and a watch of the file
// would stay with the old one. A Kubernetes ConfigMap changes by the swap of a symbolic link to a folder, so the
// folder of each link on the way to a file is watched, too.
func Files(ctx context.Context, files func() []string, changed func(), polling func(error)) {
	events := make(chan struct{}, 1)
	w := folderWatcher{changed: events}
	defer w.close()
	for {
		err := w.follow(places(files()))
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

// await waits for an event, or for the time to look without one. It reports whether to go on.
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

// quiet waits for events to end. It reports whether one came.
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

// Digests returns what is in the files, each in a few bytes.
func Digests(files []string) (sums []string) {
	for _, file := range files {
		sums = append(sums, digest(file))
	}
	return sums
}

// digest returns what is in a file, in a few bytes. It reads only regular files: another one may keep its reader
// waiting for ever, and cannot be read a second time.
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

// places returns the paths at which a change may give one of the files another content: its own, and that of
// each symbolic link on the way to it.
func places(files []string) []string {
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

// maxLinks ends the way along links that lead in a circle.
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

// folderWatcher reports that something may have changed at one of a set of places.
type folderWatcher struct {
	changed chan<- struct{} // of size 1
	failed  bool            // the places cannot all be watched

	notify *fsnotify.Watcher // nil: there is none
	places atomic.Pointer[[]string]
}

// follow watches these places, and no others. After an error a change at one of them may go unnoticed.
func (w *folderWatcher) follow(places []string) (err error) {
	w.places.Store(&places)
	if w.notify == nil {
		if w.notify, err = fsnotify.NewWatcher(); err != nil {
			w.notify = nil
			return err
		}
		go w.pass(w.notify)
	}
	var folders []string
	for _, place := range places {
		folders = append(folders, filepath.Dir(place))
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

// pass reports what concerns one of the places. An error may mean that events were lost.
func (w *folderWatcher) pass(from *fsnotify.Watcher) {
	for {
		select {
		case e, open := <-from.Events:
			if !open {
				return
			}
			concerns := func(place string) bool { return e.Name == place || e.Name == filepath.Dir(place) }
			if slices.ContainsFunc(*w.places.Load(), concerns) {
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
