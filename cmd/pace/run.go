package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"pace/config"
	"pace/proxy"
)

// flushTimeout bounds what the end of pace waits for the collector.
const flushTimeout = 5 * time.Second

// run serves as f says until a signal ends it.
func run(f *config.File, s signals) error {
	if f.Server.Workers > 0 {
		runtime.GOMAXPROCS(min(f.Server.Workers, runtime.GOMAXPROCS(0))) // what the cgroup gives stays the most
	}
	limitMemory()
	p, err := build(context.Background(), f)
	if err != nil {
		return err
	}
	defer p.log.Close()
	defer p.onSignals(s)()
	l, err := listen(f)
	if err != nil {
		return runFailure{err}
	}
	return p.serve(l, f.Server.DrainTimeout, f.Admin.Pprof)
}

// listeners are the sockets that pace answers on.
type listeners struct {
	proxy net.Listener
	admin net.Listener // nil: switched off
}

func listen(f *config.File) (l listeners, err error) {
	if l.proxy, err = proxy.Listen(f.Server.Listen); err != nil || f.Admin.Listen == "" {
		return l, err
	}
	l.admin, err = proxy.Listen(f.Admin.Listen)
	return l, err
}

// serve answers on l until a signal comes, then drains and flushes. A second signal ends at once.
func (p *parts) serve(l listeners, drain time.Duration, pprof bool) error {
	stop, done := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer done()

	admin := newAdmin(p.telemetry, pprof, p.hosts)
	failed := make(chan error, 2)
	if l.admin != nil {
		go func() { failed <- admin.serve(l.admin) }()
	}
	go func() { failed <- p.server.Serve(l.proxy) }()
	admin.ready.Store(true)
	p.log.LogAttrs(stop, slog.LevelInfo, "listening", l.attrs()...)

	select {
	case err := <-failed:
		return runFailure{err}
	case <-stop.Done():
	}
	done() // from here on a signal has its usual effect
	admin.ready.Store(false)
	p.log.LogAttrs(context.Background(), slog.LevelInfo, "draining", slog.Any("cause", context.Cause(stop)), slog.String("at_most", drain.String()))
	p.end(drain)
	if l.admin != nil {
		admin.http.Close()
	}
	return nil
}

// end lets the requests in flight finish and sends what telemetry holds back.
func (p *parts) end(drain time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	if err := p.server.Drain(ctx); errors.Is(err, context.DeadlineExceeded) {
		p.log.LogAttrs(ctx, slog.LevelWarn, "drain timeout: what was still in flight has been broken off")
	}
	flush, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	p.telemetry.Shutdown(flush)
	p.log.LogAttrs(flush, slog.LevelInfo, "stopped")
}

func (l listeners) attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("version", version), slog.String("proxy", l.proxy.Addr().String())}
	if l.admin != nil {
		attrs = append(attrs, slog.String("admin", l.admin.Addr().String()))
	}
	return attrs
}
