package server

import (
	"context"
	"log/slog"
	"slices"

	"pace/config"
	"pace/config/show"
	"pace/proxy"
	"pace/proxy/front"
	"pace/proxy/front/certificate"
)

// parts are what pace is made of. They are built once and outlive every reload, which changes them in place;
// what a reload replaces hangs from the handler's plan.
type parts struct {
	observed
	handler  *proxy.Handler
	server   *front.Server
	admin    *admin
	standing standing // of the plan in force
	sockets  sockets

	certificates *certificate.Store
	acme         issuing
	listeners    []serving  // of the proxy, in the order of the configuration; a reload may change them
	failed       chan error // why a listener is served no more
}

// build makes the parts from f. It opens the log, but no listener.
func build(ctx context.Context, f *config.File) (*parts, error) {
	o, err := buildSignals(ctx, f)
	if err != nil {
		return nil, err
	}
	p := &parts{observed: o, certificates: &certificate.Store{Log: o.log.Logger}, failed: make(chan error, 1)}
	set, err := p.prepareCertificates(f)
	if err != nil {
		return nil, err
	}
	p.useCertificates(f, set)
	changeACME, _, err := p.prepareACME(f)
	if err != nil {
		return nil, err
	}
	changeACME()
	go p.certificates.Reread(ctx)
	p.telemetry.WatchCertificates(p.certificateStates)
	var plan proxy.PlanOptions
	files, err := readTLSFiles(f)
	if err != nil {
		return nil, err
	}
	plan, p.standing = buildPlan(f, files, standing{}, o.log.Logger)
	p.warnOfUnverified(f)
	p.telemetry.WatchLimiters(p.standing.limiters())
	p.telemetry.WatchBackends(p.standing.backends)
	p.telemetry.WatchUpstreams(p.standing.pools())
	p.handler = proxy.NewHandler(proxy.Options{
		Telemetry: o.telemetry, Log: o.log.Logger, InFlight: new(front.InFlight), PlanOptions: plan,
	})
	p.server = proxy.NewServer(proxy.ServerOptions{Handler: p.handler, Settings: frontSettings(f, o), OnSlow: p.logSlow, HTTP01: p.acme.response})
	p.admin = newAdmin(o, p.handler.InFlight, f)
	p.admin.lacking = p.lackingCertificate
	return p, nil
}

func frontSettings(f *config.File, o observed) front.Settings {
	s := front.Settings{
		ReadHeaderTimeout: f.Server.ReadHeaderTimeout,
		IdleTimeout:       f.Server.IdleTimeout,
		DeliverTimeout:    f.Server.DeliverTimeout,
		MaxHeaderBytes:    f.Server.MaxHeaderBytes,
		MaxStreams:        f.Server.MaxStreams,
		SlowAfter:         f.Log.SlowAfter,

		MaxConnections:          f.Server.MaxConnections,
		MaxConnectionsPerClient: f.Server.MaxConnectionsPerClient,
	}
	if f.Metrics.Endpoint != "" {
		s.Scrape = &front.Scrape{Path: f.Metrics.Endpoint, Metrics: o.scrape(f), Allow: f.Metrics.Allow}
	}
	return s
}

// prepare opens what a changed configuration needs, and returns what puts it in force. An error changes
// nothing; the caller has refused what cannot change while pace runs. change calls announce, when the log that
// shows more writes its line: the one before the change, or the one after it.
func (p *parts) prepare(f *config.File, changes []show.Change, token string) (change func(announce func()), err error) {
	certificates, err := p.prepareCertificates(f)
	if err != nil {
		return nil, err
	}
	files, err := readTLSFiles(f)
	if err != nil {
		return nil, err
	}
	changeACME, cancelACME, err := p.prepareACME(f)
	if err != nil {
		return nil, err
	}
	changeListeners, cancelListeners, err := p.prepareListeners(f)
	if err != nil {
		cancelACME()
		return nil, err
	}
	changeLog := func() {}
	if concern(changes, logKeys...) {
		if changeLog, err = p.log.Prepare(logOptions(f)); err != nil {
			cancelListeners()
			cancelACME()
			return nil, config.Join(nil, f.Fault("log.file", err.Error(), logFileRemedy))
		}
	}
	plan, next := buildPlan(f, files, p.standing, p.log.Logger)
	return func(announce func()) {
		p.traces.Change(f.Tracing.SampleRatio, keepOptions(f))
		p.recent.Resize(f.Tracing.Keep.Recent)
		p.metrics.Show(f.Metrics.Enabled)
		p.telemetry.Change(p.signals(f), f.Tracing.QueryAllow)
		p.telemetry.WatchLimiters(next.limiters())
		p.telemetry.WatchBackends(next.backends)
		p.telemetry.WatchUpstreams(next.pools())
		p.admin.change(f, token)
		p.server.Change(frontSettings(f, p.observed))
		p.handler.Swap(plan)
		p.useCertificates(f, certificates)
		changeACME()
		changeListeners()
		p.standing.closeWithout(next)
		p.standing = next
		p.warnOfUnverified(f)
		before := p.log.Enabled(context.Background(), slog.LevelInfo)
		if before {
			announce()
		}
		changeLog()
		if !before {
			announce()
		}
	}, nil
}

// concern reports whether one of the changes is of one of the keys.
func concern(changes []show.Change, keys ...string) bool {
	return slices.ContainsFunc(changes, func(c show.Change) bool { return slices.Contains(keys, c.Key) })
}

// logKeys are the keys of which the log itself is made.
var logKeys = []string{"log.format", "log.level", "log.file"}

const logFileRemedy = "name a file that pace may write, in a folder that exists"
