package server

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"pace/cmd/pace/vet"
	"pace/cmd/pace/watch"
	"pace/config"
	"pace/config/show"
	"pace/telemetry"
)

// reloader puts a changed configuration in force while pace serves. Everything is validated first; a
// configuration with a fault changes nothing.
type reloader struct {
	file    string // "": there is none
	watches bool   // for changes of the file
	parts   *parts

	lastRead   atomic.Pointer[map[string]string]       // the digests of the files as they were read last, by path
	referenced atomic.Pointer[[]config.ReferencedFile] // of the configuration that was read last, also if it was refused

	oneAtATime sync.Mutex // held during a reload, which may block for long while it reads a file

	mu       sync.Mutex   // guards what follows; held while a configuration is put in force
	inForce  *config.File // nil: pace has not begun
	token    string       // of the admin listener
	loadedAt time.Time
	last     reloaded
	draining bool
}

// reloaded is how a reload ended.
type reloaded struct {
	At      time.Time
	Result  telemetry.Reload
	Changes []string // one line for each change
	Faults  []string // why it was refused, one line each
}

// newReloader returns the reloader of a pace that is to start with a file, which it watches from then on, or does not.
func newReloader(file string, watches bool) *reloader {
	r := &reloader{file: file, watches: watches}
	r.lastRead.Store(new(map[string]string))
	r.referenced.Store(new([]config.ReferencedFile))
	return r
}

// begin notes that pace has started with f.
func (r *reloader) begin(f *config.File, token string, p *parts) {
	now := time.Now()
	p.telemetry.ConfigLoaded(now)
	r.parts, r.inForce, r.token, r.loadedAt, r.last = p, f, token, now, reloaded{At: now}
	p.admin.api = r.apiOptions
	p.admin.change(f, token)
}

// reload reads the file and puts it in force. by says who asked.
func (r *reloader) reload(by string) reloaded {
	r.oneAtATime.Lock()
	defer r.oneAtATime.Unlock()
	r.parts.notifyReloading()
	defer r.parts.notify(daemon.SdNotifyReady)
	next, err := r.readAgain()
	r.mu.Lock()
	defer r.mu.Unlock()
	done := reloaded{At: time.Now()}
	if err == nil {
		done.Changes, err = r.change(next, func(changes []string) {
			r.log(slog.LevelInfo, "configuration reloaded", by, slog.Any("changes", changes))
		})
	}
	switch {
	case err != nil:
		done.Result, done.Faults = telemetry.ReloadRefused, strings.Split(err.Error(), "\n")
		r.log(slog.LevelError, "reload refused: the configuration before stays in force", by, slog.Any("faults", done.Faults))
	case len(done.Changes) == 0:
		done.Result = telemetry.ReloadUnchanged
		r.log(slog.LevelInfo, "configuration unchanged", by)
	}
	r.last = done
	r.parts.telemetry.Reloaded(done.Result, done.At)
	return done
}

func (r *reloader) log(level slog.Level, msg, by string, attrs ...slog.Attr) {
	attrs = append([]slog.Attr{slog.String("file", r.file), slog.String("by", by)}, attrs...)
	r.parts.log.LogAttrs(context.Background(), level, msg, attrs...)
}

// change puts next in force, and returns the changes. It calls announce with them before the log itself
// changes, unless only the new log would write the line. The caller holds r.mu.
func (r *reloader) change(next *config.File, announce func([]string)) (different []string, err error) {
	if r.draining {
		return nil, cannotReload(r.file, "pace is draining", "start it again with the new configuration")
	}
	token, err := readToken(next)
	if err != nil {
		return nil, err
	}
	changes := show.Changes(r.inForce, next)
	if token != r.token && r.inForce.Admin.TokenFile == next.Admin.TokenFile {
		changes = append(changes, show.Change{Key: "admin.token_file", What: "its content changed"})
	}
	for _, l := range next.InLongForm().Listeners {
		if r.parts.otherClientCAs(next, l) {
			changes = append(changes, show.Change{Key: l.Key + ".client_ca", What: "its content changed"})
		}
	}
	replaced, err := r.parts.replacedCertificates(next)
	if err != nil {
		return nil, err
	}
	for _, name := range replaced {
		changes = append(changes, show.Change{Key: "certificate " + strconv.Quote(name), What: "its content changed"})
	}
	if r.parts.otherACMECAs(next) {
		changes = append(changes, show.Change{Key: "acme.ca", What: "its content changed"})
	}
	changes = append(changes, r.parts.standing.changedTLSFiles(next)...)
	if err := needRestart(next, changes); err != nil {
		return nil, err
	}
	for _, c := range changes {
		different = append(different, c.String())
	}
	if len(changes) > 0 {
		change, err := r.parts.prepare(next, changes, token)
		if err != nil {
			return nil, err
		}
		change(func() { announce(different) })
		r.loadedAt = time.Now()
	}
	r.inForce, r.token = next, token
	return different, nil
}

// readAgain reads and validates the file while pace serves.
func (r *reloader) readAgain() (*config.File, error) {
	if r.file == "" {
		return nil, cannotReload("pace demo", "there is no file to reload", `start pace with one: see "pace run --help"`)
	}
	if !r.isReadableTwice() {
		return nil, cannotReload(r.file, "what is no regular file cannot be read a second time", "start pace with a regular file")
	}
	return r.read()
}

func (r *reloader) isReadableTwice() bool {
	i, err := os.Stat(r.file)
	return r.file != config.StandardInput && (err != nil || i.Mode().IsRegular())
}

// read reads and validates the file.
//
// For watch, the digest of a file is taken before the file is read, so that a change after that is noticed, also one while
// pace starts. A file that the configuration has not named before has no digest yet when it is loaded, so it is loaded
// once more.
func (r *reloader) read() (*config.File, error) {
	if !r.watches || !r.isReadableTwice() {
		return vet.Load(r.file)
	}
	digests := r.digests()
	for {
		r.lastRead.Store(new(maps.Clone(digests)))
		f, err := vet.Load(r.file)
		if f != nil {
			r.referenced.Store(new(f.ReferencedFiles()))
		}
		files := r.files()
		if err == nil {
			files = append(files, filesOf(f)...)
		}
		if !addDigests(digests, files) {
			return f, err
		}
	}
}

// digests returns the digests of the files, by path.
func (r *reloader) digests() map[string]string {
	all := map[string]string{}
	addDigests(all, r.files())
	return all
}

// addDigests adds the digests of those files that have none, and reports whether there were any.
func addDigests(digests map[string]string, files []string) bool {
	files = slices.DeleteFunc(slices.Clone(files), func(file string) bool { return digests[file] != "" })
	for i, digest := range watch.Digests(files) {
		digests[files[i]] = digest
	}
	return len(files) > 0
}

// hasChanged reports whether a file has changed since it was read.
func (r *reloader) hasChanged() bool {
	read := *r.lastRead.Load()
	for file, digest := range r.digests() {
		if read[file] != digest {
			return true
		}
	}
	return false
}

func cannotReload(file, what, remedy string) error {
	return config.Join(nil, &config.Fault{File: file, What: what, Remedy: remedy})
}

// needRestart returns the faults of the changes that need a restart.
func needRestart(f *config.File, changes []show.Change) error {
	var faults []*config.Fault
	for _, c := range changes {
		if c.Restart != "" {
			faults = append(faults, f.Fault(c.Key, c.What+", and "+c.Restart, "restart pace, or write the value that is in force"))
		}
	}
	return config.Join(nil, faults...)
}

// end prevents later reloads from changing anything. It returns the configuration that stays in force.
func (r *reloader) end() *config.File {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	return r.inForce
}

// watch reloads when the content of the file, or of one that it names, has changed, until ctx ends.
func (r *reloader) watch(ctx context.Context) {
	watch.Files(ctx, r.files, func() {
		if r.hasChanged() {
			r.reload("watch")
		}
	}, r.logPolling)
}

// logPolling logs that the system has stopped reporting changes.
func (r *reloader) logPolling(why error) {
	r.parts.log.LogAttrs(context.Background(), slog.LevelWarn, "the configuration cannot be watched: pace looks for a change now and then",
		slog.String("file", r.file), slog.Duration("every", watch.PollEvery), slog.Any("error", why))
}

// files returns the configuration, and the files that it names and that are read with it.
func (r *reloader) files() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	files := []string{r.file}
	if r.inForce != nil {
		files = append(files, filesOf(r.inForce)...)
	}
	for _, f := range *r.referenced.Load() {
		files = append(files, f.Path)
	}
	return files
}

// filesOf returns the files that keys of a configuration name, and that are read when it is put in force.
func filesOf(f *config.File) (files []string) {
	if token := f.Admin.TokenFile; token != "" {
		files = append(files, token)
	}
	if a := f.ACME; a != nil && a.CA != "" {
		files = append(files, a.CA)
	}
	for _, l := range f.InLongForm().Listeners {
		if l.ClientCA != "" {
			files = append(files, l.ClientCA)
		}
	}
	for _, u := range f.InLongForm().Upstreams {
		for _, file := range []string{u.TLS.CA, u.TLS.Cert, u.TLS.Key} {
			if file != "" {
				files = append(files, file)
			}
		}
	}
	return files
}
