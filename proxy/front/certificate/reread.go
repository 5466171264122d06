package certificate

import (
	"context"
	"log/slog"
	"os"
	"time"
)

const (
	lookEvery = 2 * time.Second // how often the files are read
	settles   = time.Second     // how long after another the second file of a pair may be replaced
)

// Reread reads the files again and again until ctx ends, and puts in force what has changed. It reads them instead
// of watching them, so it does not matter how they are replaced. A pair that cannot be used leaves the old one in
// force: it is tried again after a moment, because its two files are replaced one after the other, and then the
// log reports it, once.
func (s *Store) Reread(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		set := s.set.Load()
		if set == nil {
			continue
		}
		if bad := s.reread(set, false); bad {
			select {
			case <-ctx.Done():
				return
			case <-time.After(settles):
			}
			s.reread(set, true)
		}
	}
}

// reread reads each pair, and reports whether one is bad that the log has not reported. With report the log
// reports it now.
func (s *Store) reread(set *Set, report bool) (bad bool) {
	changed := false
	for _, p := range set.pairs {
		cert, digest, fault := read(p.Files)
		switch {
		case digest == p.digest && fault == nil: // as before
			p.reported = false
		case fault == nil:
			p.digest = digest
			p.inForce.Store(cert)
			changed = true
			s.log(slog.LevelInfo, "certificate replaced", p, slog.Time("not_after", cert.Leaf.NotAfter))
		case digest == p.refused && p.reported: // it is bad as before
		case !report:
			bad = true
		default:
			p.refused, p.reported = digest, true
			p.failures.Add(1)
			file := p.Cert
			if fault.Key {
				file = p.Key
			}
			s.log(slog.LevelWarn, "the certificate's files have changed and cannot be used: the one before stays in force", p,
				slog.String("file", file), slog.String("error", fault.What), slog.String("remedy", fault.Remedy))
		}
	}
	if changed {
		set.index()
	}
	return bad
}

func (s *Store) log(level slog.Level, msg string, p *pair, attrs ...slog.Attr) {
	if s.Log != nil {
		s.Log.LogAttrs(context.Background(), level, msg, append([]slog.Attr{slog.String("certificate", p.Name)}, attrs...)...)
	}
}

// LooseKey returns the mode of a key's file that others than its owner and its group may read; "" otherwise.
func LooseKey(file string) string {
	i, err := os.Stat(file)
	if err != nil || i.Mode().Perm()&0o007 == 0 {
		return ""
	}
	return i.Mode().Perm().String()
}
