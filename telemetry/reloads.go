package telemetry

import (
	"sync/atomic"
	"time"
)

// Reload is how a reload of the configuration ended.
type Reload uint8

// The results of pace_config_reloads_total.
const (
	ReloadApplied Reload = iota
	ReloadUnchanged
	ReloadRefused
	reloadCount
)

var reloadWords = [reloadCount]string{"applied", "unchanged", "refused"}

// String returns the word of the result.
func (r Reload) String() string { return reloadWords[r] }

// ReloadWords returns the words of all results, in their order.
func ReloadWords() []string { return reloadWords[:] }

// reloads counts reloads, and notes when one succeeded.
type reloads struct {
	count     [reloadCount]atomic.Int64
	failed    atomic.Bool  // the last one was refused
	succeeded atomic.Int64 // Unix time of the last one that was not, or of the start
}

// ConfigLoaded notes that pace has started with a configuration.
func (s *State) ConfigLoaded(at time.Time) { s.reloads.succeeded.Store(at.Unix()) }

// Reloaded counts a reload.
func (s *State) Reloaded(r Reload, at time.Time) {
	s.reloads.count[r].Add(1)
	s.reloads.failed.Store(r == ReloadRefused)
	if r != ReloadRefused {
		s.reloads.succeeded.Store(at.Unix())
	}
}

// Reloads returns how many reloads have ended in this way.
func (s *State) Reloads(r Reload) int64 { return s.reloads.count[r].Load() }

// LastReload returns whether the last reload succeeded, or the start if there was none, and when one last did.
func (s *State) LastReload() (successful bool, at int64) {
	return !s.reloads.failed.Load(), s.reloads.succeeded.Load()
}
