//go:build !unix

package main

// onSignals: there is neither USR1 nor HUP here, and no SIGPIPE.
func (p *parts) onSignals() (stop func()) { return func() {} }
