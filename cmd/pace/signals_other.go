//go:build !unix

package main

// onSignals: there is no USR1 here.
func (p *parts) onSignals() (stop func()) { return func() {} }
