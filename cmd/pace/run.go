package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"pace/config"
	"pace/proxy/front"
)

// flushTimeout limits how long pace waits for the collector before it exits.
const flushTimeout = 5 * time.Second

// run serves as the file says until a signal ends it.
func run(file string, watch bool, s signals) error {
	f, err := load(file)
	if err != nil {
		return err
	}
	if f.Server.Workers > 0 {
		runtime.GOMAXPROCS(min(f.Server.Workers, runtime.GOMAXPROCS(0))) // never more than the cgroup allows
	}
	limitMemory()
	p, err := build(context.Background(), f)
	if err != nil {
		return err
	}
	defer p.log.Close()
	l, err := listen(f)
	if err != nil {
		return runFailure{err}
	}
	r := newReloader(file, f, p)
	defer r.onSignals(s)()
	if watch {
		ctx, end := context.WithCancel(context.Background())
		defer end()
		go r.watch(ctx)
	}
	return p.serve(l, r)
}

// listeners are the sockets that pace listens on.
type listeners struct {
	proxy net.Listener
	admin net.Listener // nil: switched off
}

func listen(f *config.File) (l listeners, err error) {
	if l.proxy, err = front.Listen(f.Server.Listen); err != nil || f.Admin.Listen == "" {
		return l, err
	}
	l.admin, err = front.Listen(f.Admin.Listen)
	return l, err
}

// errSecondSignal is the cause that ends a drain early.
var errSecondSignal = errors.New("second signal")

// errAborted ends pace with exit code 1. Its text is empty, because the log already says what happened.
var errAborted = runFailure{errors.New("")}

// serve serves l until a signal comes, then drains and flushes. A second signal aborts the requests that
// are still in flight.
func (p *parts) serve(l listeners, r *reloader) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)

	admin := p.admin
	failed := make(chan error, 2)
	if l.admin != nil {
		go func() { failed <- admin.serve(l.admin) }()
	}
	go func() { failed <- p.server.Serve(l.proxy) }()
	admin.ready.Store(true)
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "listening", l.attrs()...)

	var cause os.Signal
	select {
	case err := <-failed:
		return runFailure{err}
	case cause = <-signals:
	}
	admin.ready.Store(false)
	s := r.end().Server
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "draining",
		slog.String("cause", cause.String()), slog.String("delay", s.DrainDelay.String()), slog.String("at_most", s.DrainTimeout.String()))
	err := p.end(s, signals)
	if l.admin != nil {
		admin.http.Close()
	}
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

func (l listeners) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("version", version), slog.String("proxy", l.proxy.Addr().String())}
	if l.admin != nil {
		attrs = append(attrs, slog.String("admin", l.admin.Addr().String()))
	}
	return attrs
}
