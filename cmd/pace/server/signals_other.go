//go:build !unix

package server

// signals does nothing: this system has no SIGUSR1, SIGHUP or SIGPIPE.
type signals struct{}

func catchSignals() (s signals) { return s }

func (r *reloader) onSignals(signals) (stop func()) { return func() {} }
