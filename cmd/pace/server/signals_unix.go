//go:build unix

package server

import (
	"os"
	"os/signal"
	"syscall"
)

// signals receives the signals that neither end nor drain pace. pace catches them before anything else, so
// that such a signal does not end pace while it starts.
type signals chan os.Signal

func catchSignals() signals {
	c := make(signals, 1)
	signal.Notify(c, syscall.SIGUSR1, syscall.SIGHUP)
	return c
}

// onSignals reopens the log file on SIGUSR1, and reloads the configuration on SIGHUP. Both end when the
// returned function is called. It also ignores SIGPIPE, for good: otherwise the runtime would end pace at
// the first log line after the reader of a log pipe has gone.
func (r *reloader) onSignals(c signals) (stop func()) {
	signal.Ignore(syscall.SIGPIPE)
	go func() {
		for s := range c {
			if s == syscall.SIGUSR1 {
				r.parts.log.Reopen()
				continue
			}
			r.reload("SIGHUP")
		}
	}()
	return func() {
		signal.Stop(c)
		close(c)
	}
}
