//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// signals are those that neither end pace nor drain it. They are caught from the beginning, so that one
// that comes during the start does not end it.
type signals chan os.Signal

func catchSignals() signals {
	c := make(signals, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGHUP)
	return c
}

// onSignals reopens the log file on SIGUSR1, and logs what to do instead of SIGHUP, until the returned
// function is called. It ignores SIGPIPE for good: otherwise the runtime would raise it for the first log
// line after the reader of a log pipe has gone, and the proxy would die of its log.
func (p *parts) onSignals(c signals) (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		for s := range c {
			if s == syscall.SIGUSR1 {
				p.log.Reopen()
				continue
			}
			p.log.LogAttrs(context.Background(), slog.LevelWarn, "SIGHUP ignored: restart pace to apply a changed configuration")
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}
