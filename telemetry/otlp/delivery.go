// Package otlp is what the signals that go to an OpenTelemetry collector have in common: where the collector is,
// when an export is repeated, what the log says of a collector that takes nothing, and how a queue ends. It must not
// know records, or any package of pace but telemetry/environment.
package otlp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"
)

// Delivery delivers the batches of one signal to a collector, one after the other. A batch that the collector
// does not take for the moment is sent again until its context ends, as the OTLP specification says: see
// [Delivery.Deliver]. It is not safe for concurrent use.
type Delivery struct {
	log       *slog.Logger
	messages  [stateCount]string
	state     state     // of the collector, by the last batch
	notBefore time.Time // the collector has asked for a pause until then
}

// NewDelivery returns a Delivery whose messages call what is delivered by this name, such as spans.
func NewDelivery(what string, log *slog.Logger) *Delivery {
	return &Delivery{log: log, messages: [stateCount]string{
		well:    "the collector takes " + what + " again",
		warning: "the collector takes " + what + ", but warns",
		waiting: what + " wait: the collector does not take them for now",
		failing: what + " are being lost: the collector does not take them",
	}}
}

// The pauses between attempts, without what the collector asks for. Each is up to a half shorter or longer, so
// that many processes do not come back at once.
const (
	firstPause   = time.Second
	longestPause = 5 * time.Second
)

// longestAskedPause limits the pause that a collector can ask for: a wrong number in its configuration must not
// make pace silent for a year.
const longestAskedPause = 5 * time.Minute

// DefaultTimeout limits how long a batch is sent again and again to a collector that does not take it. Meanwhile
// a queue keeps what comes after it, so an outage that is shorter costs nothing while there is room.
const DefaultTimeout = time.Minute

// Deliver calls send, and calls it again after a pause, while ctx lasts and the collector may take the batch
// later: it cannot be reached, or says so. The pause is what the collector asks for, also before the next batch,
// and at least one that grows. The error of the last call is returned; it may be a [*PartialSuccess]. If send
// panics, it has failed: a panic on the goroutine of an export would end pace.
func (d *Delivery) Deliver(ctx context.Context, send func(context.Context) error) error {
	err := d.deliver(ctx, send)
	switch p, ok := errors.AsType[*PartialSuccess](err); {
	case err == nil:
		d.note(ctx, well, nil)
	case ok && p.Rejected <= 0:
		d.note(ctx, warning, err)
	default:
		d.note(ctx, failing, err)
	}
	return err
}

func (d *Delivery) deliver(ctx context.Context, send func(context.Context) error) error {
	if !sleep(ctx, time.Until(d.notBefore)) {
		return fmt.Errorf("the collector has asked for a pause until %s", d.notBefore.Format(time.RFC3339))
	}
	pause := firstPause
	for failed := 1; ; failed++ {
		err := asPartial(guarded(ctx, send))
		again, asked := retryable(err)
		if !again {
			return err
		}
		if failed == 2 {
			d.note(ctx, waiting, err) // once is no news: a collector may be busy for a moment
		}
		if asked > 0 {
			d.notBefore = time.Now().Add(min(asked, longestAskedPause))
		}
		jittered := pause/2 + rand.N(pause)
		if !sleep(ctx, max(jittered, time.Until(d.notBefore))) {
			return err
		}
		pause = min(2*pause, longestPause)
	}
}

// guarded calls send, and makes an error of a panic.
func guarded(ctx context.Context, send func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the exporter panicked: %v", p)
		}
	}()
	return send(ctx)
}

// sleep reports whether ctx still lasts after the time d.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// Lost returns how many of the items of a batch were lost, by the error of its delivery. It is never more than
// the batch had, whatever the collector reports.
func Lost(items int, err error) int {
	if p, ok := errors.AsType[*PartialSuccess](err); ok {
		return int(min(max(p.Rejected, 0), int64(items)))
	}
	if err != nil {
		return items
	}
	return 0
}

// state is how the collector received the last batch.
type state uint8

const (
	well    state = iota
	warning       // it accepted all of it, with a warning
	waiting       // it did not accept it yet
	failing       // it did not accept all of it
	stateCount
)

// note logs a change of the collector's state, once.
func (d *Delivery) note(ctx context.Context, now state, err error) {
	before := d.state
	if now == waiting && before == failing {
		return // more than that is known already
	}
	d.state = now
	switch {
	case now == before:
	case now == well && before == warning:
	case now == well:
		d.log.LogAttrs(ctx, slog.LevelInfo, d.messages[well])
	default:
		d.log.LogAttrs(ctx, slog.LevelWarn, d.messages[now], slog.Any("error", err))
	}
}
