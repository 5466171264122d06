// Package server is pace as a process: it builds the parts from a configuration, serves, reloads, drains and ends.
// It must not know the command line, or how the parts work inside.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"pace/cmd/pace/memory"
	"pace/config"
	"pace/proxy/front"
)

// Version appears in `pace version`, in the metrics and in the traces.
const Version = "0.1.0"

// flushTimeout limits how long pace waits for the collector before it exits. What is queued has the first part of
// it, so that a collector of traces that is gone does not cost the last metrics.
const (
	flushTimeout       = 5 * time.Second
	flushQueuesTimeout = 4 * time.Second
)

// Failure marks an error that is not one of usage or configuration.
type Failure struct{ error }

func (f Failure) Unwrap() error { return f.error }

// Run serves as the file says until a signal ends it. With watch it reloads whenever the file changes.
func Run(file string, watch bool) error {
	s := catchSignals()
	r := newReloader(file, watch)
	f, err := r.read()
	if err != nil {
		return err
	}
	token, err := readToken(f)
	if err != nil {
		return err
	}
	if f.Server.Workers > 0 {
		runtime.GOMAXPROCS(min(f.Server.Workers, runtime.GOMAXPROCS(0))) // never more than the cgroup allows
	}
	memory.Limit()
	p, err := build(context.Background(), f)
	if err != nil {
		return err
	}
	defer p.log.Close()
	p.sockets = inheritSockets()
	l, err := p.sockets.listen(f)
	if err != nil {
		return Failure{err}
	}
	p.sockets.warnOfUnused(f, p.log.Logger)
	r.begin(f, token, p)
	end := catchEnd()
	if err := p.accept(f, l); err != nil {
		return err
	}
	defer r.onSignals(s)()
	if watch {
		ctx, stop := context.WithCancel(context.Background())
		defer stop()
		go r.watch(ctx)
	}
	return p.serve(r, end)
}

// RunOn serves as f says, on sockets that are open already, until a signal ends it. It calls ready before it
// accepts the first request.
func RunOn(f *config.File, l Listeners, ready func()) error {
	p, err := build(context.Background(), f)
	if err != nil {
		return err
	}
	defer p.log.Close()
	ready()
	r := newReloader("", false)
	r.begin(f, "", p)
	end := catchEnd()
	if err := p.accept(f, l); err != nil {
		return err
	}
	return p.serve(r, end)
}

// errSecondSignal is the cause that ends a drain early.
var errSecondSignal = errors.New("second signal")

// errAborted ends pace with exit code 1. Its text is empty, because the log already says what happened.
var errAborted = Failure{errors.New("")}

// catchEnd returns the signals that end pace.
func catchEnd() chan os.Signal {
	c := make(chan os.Signal, 2)
	signal.Notify(c, os.Interrupt, syscall.SIGTERM)
	return c
}

// accept begins to serve l.
func (p *parts) accept(f *config.File, l Listeners) error {
	if l.Admin != nil {
		go p.reportFailure(func() error { return p.admin.serve(l.Admin) })
	}
	if err := p.serveProxy(f, l.Proxy); err != nil {
		return err
	}
	p.admin.ready.Store(true)
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "listening", l.attrs()...)
	return nil
}

// reportFailure runs serve, and sends its error to p.failed. serve must return nil if it was ended on purpose.
func (p *parts) reportFailure(serve func() error) {
	if err := serve(); err != nil {
		p.failed <- err
	}
}

// serve returns when a signal has come, and pace has drained and flushed, or when a listener fails. A second
// signal aborts the requests that are still in flight.
func (p *parts) serve(r *reloader, signals chan os.Signal) error {
	defer signal.Stop(signals)
	p.notify(daemon.SdNotifyReady)
	alive, end := context.WithCancel(context.Background())
	defer end()
	go p.feedWatchdog(alive)

	var cause os.Signal
	select {
	case err := <-p.failed:
		return Failure{err}
	case cause = <-signals:
	}
	p.notify(daemon.SdNotifyStopping)
	p.admin.ready.Store(false)
	s := r.end().Server
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "draining",
		slog.String("cause", cause.String()), slog.String("delay", s.DrainDelay.String()), slog.String("at_most", s.DrainTimeout.String()))
	err := p.end(s, signals)
	p.admin.http.Close()
	return err
}

// end lets the requests in flight finish, and then flushes the telemetry.
func (p *parts) end(s config.Server, signals <-chan os.Signal) error {
	patient, second := context.WithCancelCause(context.Background())
	defer second(nil)
	go func() {
		select {
		case <-signals:
			second(errSecondSignal)
		case <-patient.Done():
		}
	}()
	wait(patient, s.DrainDelay)
	ctx, cancel := context.WithTimeout(patient, s.DrainTimeout)
	defer cancel()
	err := p.server.Drain(ctx)
	p.acme.close()
	p.standing.closeWithout(standing{})
	if aborted, ok := errors.AsType[*front.AbortedError](err); ok {
		why := "drain timeout"
		if errors.Is(aborted.Cause, errSecondSignal) {
			why = errSecondSignal.Error()
		}
		p.log.LogAttrs(ctx, slog.LevelWarn, fmt.Sprintf("%s: aborted %d requests", why, aborted.Requests))
		err = errAborted
	}
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	p.shutdown(flush)
	p.log.LogAttrs(flush, slog.LevelInfo, "stopped")
	return err
}

// wait returns after d, or earlier if ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
