package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
)

// maxBytes is the largest config file that is read; the longest sensible one has a few KiB.
const maxBytes = 1 << 20

// File is a Config together with where each of its keys was written.
type File struct {
	Config
	SHA256 string // of the file's bytes, in hexadecimal
	name   string
	lines  map[string]int // by dotted key; elements of lists too: upstreams.backends[1]

	secrets secrets
	once    once
}

// once is what was read of the files that the configuration names.
type once struct {
	mu   sync.Mutex     // guards read, and is held while something is read
	read map[string]any // by key
}

// Once returns what read returns, which it calls only the first time for a key. A file that the configuration names may
// be replaced at any moment. All that look at this configuration must see the same content of it: those that validate
// it, those that say what is new, and those that put it in force.
func (f *File) Once(key string, read func() any) any {
	f.once.mu.Lock()
	defer f.once.mu.Unlock()
	if f.once.read == nil {
		f.once.read = map[string]any{}
	}
	value, ok := f.once.read[key]
	if !ok {
		value = read()
		f.once.read[key] = value
	}
	return value
}

// Load reads and validates a file. The error joins all its faults, in file order, each a *Fault.
// A file with faults is returned as well if it could be read at all, so that parts can add
// theirs and users see all at once; it must not be acted on otherwise.
func Load(file string) (*File, error) {
	data, err := read(file)
	if err != nil {
		why := err
		if e, ok := errors.AsType[*fs.PathError](err); ok {
			why = e.Err
		}
		return nil, Join(&Fault{File: file, What: "cannot be read: " + why.Error(), Remedy: "name a file that exists and that pace may read"})
	}
	return Parse(file, data)
}

// StandardInput is the name of a file that is read from standard input.
const StandardInput = "-"

// read stops one byte above the limit, so that a device or a wrong file does not fill the memory.
func read(file string) ([]byte, error) {
	if file == StandardInput {
		return io.ReadAll(io.LimitReader(os.Stdin, maxBytes+1))
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxBytes+1))
}

// Default is what an empty file means, except for the backends, which have no default.
func Default() Config {
	r := reader{file: &File{}}
	r.document(nil)
	if len(r.faults) > 0 {
		panic("pace: BUG: defaults: " + Join(nil, r.faults...).Error())
	}
	return r.file.Config
}

// Line is the line on which a key or a table is written; 0 if it is not.
func (f *File) Line(key string) int { return f.lines[key] }

// Fault is a fault at a key, for what only the part that acts on the key can know. The line is
// 0 when the key is not written in the file. Secrets in what and remedy are masked.
func (f *File) Fault(key, what, remedy string) *Fault {
	return &Fault{File: f.name, Line: f.lines[key], Key: key, What: f.secrets.mask(what), Remedy: f.secrets.mask(remedy)}
}

// Refuse is Fault for a value that does not pass, of which what and remedy may show a part. Of a secret the fault
// shows nothing.
func (f *File) Refuse(key, what, remedy string) *Fault {
	if f.IsSecret(key) {
		what, remedy = f.secrets.refusal(key), remedyThere(key)
	}
	return f.Fault(key, what, remedy)
}
