//go:build unix

package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// onSignals reopens the log file on USR1 and says that HUP does nothing yet, until the returned
// function is called. Of SIGPIPE it rids the process for good: else the runtime would raise it for
// the first line of the log that nobody reads any more, and the proxy would die of its log.
func (p *parts) onSignals() (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGHUP)
	go func() {
		for s := range c {
			if s == syscall.SIGUSR1 {
				p.log.Reopen()
				continue
			}
			p.log.LogAttrs(context.Background(), slog.LevelWarn, "HUP changes nothing: a new configuration takes a restart, until reload comes")
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}
