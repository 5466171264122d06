//go:build !unix

package main

// signals: there is neither SIGUSR1 nor SIGHUP here, and no SIGPIPE.
type signals struct{}

func catchSignals() (s signals) { return s }

func (p *parts) onSignals(signals) (stop func()) { return func() {} }
