package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
)

// notify reports to systemd what pace does (sd_notify(3)). It does nothing unless systemd started pace, and asked
// for it.
func (p *parts) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		p.log.LogAttrs(context.Background(), slog.LevelWarn, "systemd cannot be notified", slog.Any("error", err))
	}
}

// notifyReloading reports the begin of a reload. Its end is another [daemon.SdNotifyReady].
func (p *parts) notifyReloading() {
	p.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// feedWatchdog reports that pace is alive, twice in each interval of the unit's WatchdogSec=, until ctx ends. It
// looks at the registry of exchanges first: if that is blocked, so is every request, and systemd restarts pace.
func (p *parts) feedWatchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		p.log.LogAttrs(ctx, slog.LevelWarn, "systemd's watchdog is not fed", slog.Any("error", err))
	}
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		p.handler.InFlight.Count()
		p.notify(daemon.SdNotifyWatchdog)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
