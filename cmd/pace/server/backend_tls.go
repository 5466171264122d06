package server

import (
	"context"
	"log/slog"

	"pace/cmd/pace/vet"
	"pace/config"
	"pace/config/show"
)

// readTLSFiles reads the files that the upstreams of f name for TLS to their backends.
func readTLSFiles(f *config.File) (map[string]vet.TLSFiles, error) {
	of := map[string]vet.TLSFiles{}
	var faults []*config.Fault
	for _, u := range f.InLongForm().Upstreams {
		files, bad := vet.BackendFiles(f, u)
		of[u.Name], faults = files, append(faults, bad...)
	}
	return of, config.Join(nil, faults...)
}

// changedTLSFiles returns a change for each upstream whose files for TLS have another content.
func (s standing) changedTLSFiles(f *config.File) (changes []show.Change) {
	of, err := readTLSFiles(f)
	if err != nil {
		return nil // whoever puts f in force says so
	}
	for _, u := range f.InLongForm().Upstreams {
		if b := s.upstreams[u.Name]; b.to != nil && b.from.TLS == u.TLS && b.from.files != of[u.Name].Digest {
			changes = append(changes, show.Change{Key: u.Key + ".tls", What: "the content of its files changed"})
		}
	}
	return changes
}

// warnOfUnverified logs which upstreams take any certificate for that of a backend.
func (p *parts) warnOfUnverified(f *config.File) {
	for _, name := range f.UnverifiedUpstreams() {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "the certificates of backends are not verified", slog.String("upstream", name), slog.String("remedy", "remove verify = false"))
	}
}
