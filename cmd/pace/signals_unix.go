//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// signals receives the signals that neither end nor drain pace. They are caught before anything else, so
// that one that comes while pace starts does not end it.
type signals chan os.Signal

func catchSignals() signals {
	c := make(signals, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGHUP)
	return c
}

// onSignals reopens the log file on SIGUSR1. On SIGHUP it logs what to do instead. Both end when the
// returned function is called. It also ignores SIGPIPE, for good: otherwise the runtime would end pace at
// the first log line after the reader of a log pipe has gone.
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
