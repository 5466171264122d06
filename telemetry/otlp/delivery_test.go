package otlp

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// later is the error of a collector that asks for a pause; 0: it only says that it is unavailable.
func later(t *testing.T, pause time.Duration) error {
	t.Helper()
	s := status.New(codes.Unavailable, "later")
	if pause > 0 {
		var err error
		if s, err = s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(pause)}); err != nil {
			t.Fatal(err)
		}
	}
	return s.Err()
}

// delivered delivers a batch to a collector that returns these errors in turn, and then takes it. It returns when
// the batch was sent.
func delivered(d *Delivery, limit time.Duration, errs ...error) (at []time.Duration, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	begin := time.Now()
	err = d.Deliver(ctx, func(context.Context) error {
		at = append(at, time.Since(begin))
		if len(at) > len(errs) {
			return nil
		}
		return errs[len(at)-1]
	})
	return at, err
}

func TestDelivery_RepeatsAfterPausesThatGrow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDelivery("spans", slog.New(slog.DiscardHandler))
		down := later(t, 0)
		at, err := delivered(d, time.Minute, down, down, down, down, down)
		if err != nil || len(at) != 6 {
			t.Fatalf("sent at %v: %v; want six times, and no error", at, err)
		}
		for i, base := range []time.Duration{firstPause, 2 * firstPause, 4 * firstPause, longestPause, longestPause} {
			if pause := at[i+1] - at[i]; pause < base/2 || pause >= base+base/2 {
				t.Errorf("pause %d was %v, want half to one and a half of %v", i+1, pause, base)
			}
		}
	})
}

// Many processes that lose one collector do not come back to it at one instant.
func TestDelivery_PausesDiffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pauses := map[time.Duration]bool{}
		for range 20 {
			at, _ := delivered(NewDelivery("spans", slog.New(slog.DiscardHandler)), time.Minute, later(t, 0))
			pauses[at[1]] = true
		}
		if len(pauses) < 10 {
			t.Errorf("20 first pauses have %d lengths", len(pauses))
		}
	})
}

func TestDelivery_HonoursThePauseThatTheCollectorAsksFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDelivery("spans", slog.New(slog.DiscardHandler))
		at, err := delivered(d, time.Minute, later(t, 20*time.Second))
		if err != nil || len(at) != 2 || at[1] != 20*time.Second {
			t.Errorf("sent at %v: %v; want it again after 20 s", at, err)
		}
		// The time is too short for the pause: the batch is lost, and the pause holds for the next one.
		if at, err = delivered(d, 15*time.Second, later(t, 30*time.Second)); err == nil || len(at) != 1 {
			t.Errorf("sent at %v: %v; want it once, and an error", at, err)
		}
		if at, err = delivered(d, time.Minute); err != nil || len(at) != 1 || at[0] != 15*time.Second {
			t.Errorf("the next batch was sent at %v: %v; want 15 s later", at, err)
		}
		// A collector cannot silence pace for long.
		if at, err = delivered(d, time.Hour, later(t, 365*24*time.Hour)); err != nil || at[1] != longestAskedPause {
			t.Errorf("sent at %v: %v; want it again after %v", at, err, longestAskedPause)
		}
	})
}

func TestDelivery_EndsWithItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := NewDelivery("spans", slog.New(slog.DiscardHandler))
		begin := time.Now()
		_, err := delivered(d, 10*time.Second, slices.Repeat([]error{later(t, 0)}, 100)...)
		if took := time.Since(begin); status.Code(err) != codes.Unavailable || took != 10*time.Second {
			t.Errorf("got %v after %v, want what the collector said, after 10 s", err, took)
		}
	})
}

func TestDelivery_RepeatsNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, err := range []error{nil, errors.New("no"), status.Error(codes.InvalidArgument, "never"), &PartialSuccess{Err: errors.New("too old"), Rejected: 1}} {
			at, got := delivered(NewDelivery("spans", slog.New(slog.DiscardHandler)), time.Minute, err)
			if len(at) != 1 || got != err {
				t.Errorf("sent %d times: %v; want once: %v", len(at), got, err)
			}
		}
	})
}

func TestDelivery_LogsChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		d := NewDelivery("spans", slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey || a.Key == "error" {
				return slog.Attr{}
			}
			return a
		}})))
		down := later(t, 0)
		for _, step := range []struct {
			name string
			errs []error
			want string
		}{
			{"all is well", nil, ""},
			{"busy for a moment", []error{down}, ""},
			{"an outage that ends in time", []error{down, down, down}, "WARN spans wait: the collector does not take them for now|INFO the collector takes spans again"},
			{"an outage that does not", slices.Repeat([]error{down}, 100), "WARN spans wait: the collector does not take them for now|WARN spans are being lost: the collector does not take them"},
			{"the next batch is lost, too", slices.Repeat([]error{down}, 100), ""},
			{"and it is over", nil, "INFO the collector takes spans again"},
			{"a refusal", []error{errors.New("never")}, "WARN spans are being lost: the collector does not take them"},
			{"a warning", []error{&PartialSuccess{Err: errors.New("mind the size")}}, "WARN the collector takes spans, but warns"},
			{"all is well again", nil, ""},
		} {
			log.Reset()
			delivered(d, time.Minute, step.errs...)
			got := strings.NewReplacer("level=", "", `msg="`, "", "\"\n", "|").Replace(log.String())
			if got = strings.TrimSuffix(got, "|"); got != step.want {
				t.Errorf("%s: logged %q, want %q", step.name, got, step.want)
			}
		}
	})
}

func TestLost(t *testing.T) {
	partly := func(n int64) error { return &PartialSuccess{Err: errors.New("x"), Rejected: n} }
	for _, tt := range []struct {
		err  error
		want int
	}{{nil, 0}, {errors.New("x"), 7}, {partly(3), 3}, {partly(9), 7}, {partly(-1), 0}, {partly(0), 0}} {
		if got := Lost(7, tt.err); got != tt.want {
			t.Errorf("Lost(7, %v) = %d, want %d", tt.err, got, tt.want)
		}
	}
}

// A panic of an exporter has delivered nothing, and is not tried again; the next batch is sent as ever.
func TestDelivery_APanicIsAFailure(t *testing.T) {
	d := NewDelivery("spans", slog.New(slog.DiscardHandler))
	calls := 0
	err := d.Deliver(t.Context(), func(context.Context) error { calls++; panic("no") })
	if err == nil || calls != 1 || Lost(3, err) != 3 {
		t.Errorf("got %v after %d calls, %d of 3 lost", err, calls, Lost(3, err))
	}
	if err := d.Deliver(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
}
