//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// onSignals reopens the log file on USR1, until the returned function is called.
func (p *parts) onSignals() (stop func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1)
	go func() {
		for range c {
			p.log.Reopen()
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}
