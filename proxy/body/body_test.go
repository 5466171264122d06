package body

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/front"
)

// deadlines is a client's side that notes until when it may be read from.
type deadlines struct {
	http.ResponseWriter
	until time.Time
}

func (d *deadlines) SetReadDeadline(until time.Time) error { d.until = until; return nil }

func (d *deadlines) EnableFullDuplex() error { return nil }

// bodyOf returns the body of a request, and its client's side.
func bodyOf(ctx context.Context, src io.Reader, limit int64, timeout time.Duration) (*Body, *deadlines) {
	d := &deadlines{}
	r := (&http.Request{Body: io.NopCloser(src), ProtoMajor: 1, ContentLength: -1}).WithContext(ctx)
	return New(d, r, nil, limit, timeout), d
}

// Each Read may wait for so long, and what comes after the end is none of the body's business.
func TestBody_WaitsForEachPiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := bodyOf(t.Context(), strings.NewReader("hello"), 0, time.Minute)
		for range 2 {
			time.Sleep(time.Second)
			now := time.Now()
			b.Read(make([]byte, 2))
			if !d.until.Equal(now.Add(time.Minute)) {
				t.Errorf("it may be read until %v from now", d.until.Sub(now))
			}
		}
		if rest, err := io.ReadAll(b); string(rest) != "o" || err != nil || b.Received() != 5 || !d.until.IsZero() {
			t.Errorf("got %q, %v, %d bytes, a deadline at %v", rest, err, b.Received(), d.until)
		}
	})
}

func TestBody_IsBounded(t *testing.T) {
	t.Parallel()
	for length, fits := range map[int]bool{0: true, 4: true, 5: true, 6: false, 100: false} {
		b, _ := bodyOf(t.Context(), strings.NewReader(strings.Repeat("x", length)), 5, 0)
		got, err := io.ReadAll(b)
		if (err == nil) != fits || len(got) > 5 || !fits && b.Fault() != TooLarge {
			t.Errorf("%d of 5 bytes: got %d, %v, %v", length, len(got), err, b.Fault())
		}
	}
}

// After an attempt that failed the body can be read by another, if nothing of it was used up and no
// Read was cut short.
func TestBody_Again(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := bodyOf(t.Context(), strings.NewReader("hello"), 0, time.Minute)
		b.Stop()
		if !b.Again() || !d.until.IsZero() {
			t.Errorf("an untouched body is of no use, or has a deadline in %v", time.Until(d.until))
		}
		if got, err := io.ReadAll(b); string(got) != "hello" || err != nil {
			t.Errorf("got %q, %v", got, err)
		}
		if b.Again() {
			t.Error("a body that is used up can be sent again")
		}
		b, _ = bodyOf(t.Context(), failsLater{time.Second, errors.New("deadline")}, 0, 0)
		done := make(chan error)
		go func() { _, err := b.Read(make([]byte, 1)); done <- err }()
		synctest.Wait()
		b.Stop()
		if err := <-done; err == nil || b.Again() || b.Gone() {
			t.Errorf("a Read that was cut short: %v, again %v, gone %v", err, b.Again(), b.Gone())
		}
	})
}

// failsLater fails after a while.
type failsLater struct {
	after time.Duration
	err   error
}

func (e failsLater) Read([]byte) (int, error) { time.Sleep(e.after); return 0, e.err }

// What becomes of a body's rest when the exchange is over.
func TestBody_Hand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, d := bodyOf(t.Context(), strings.NewReader("hello"), 0, 0)
		b.HandOver(false)
		if !d.until.Equal(time.Now().Add(front.Lingering)) {
			t.Errorf("a client that still sends has %v, want %v", time.Until(d.until), front.Lingering)
		}
		b.HandOver(true)
		if d.until.After(time.Now()) {
			t.Errorf("an answer that is broken off waits %v for its client", time.Until(d.until))
		}
		io.ReadAll(b)
		d.until = time.Time{}
		b.HandOver(false)
		if !d.until.IsZero() {
			t.Error("a body that was read to its end leaves a deadline behind")
		}
	})
}

// Who left before the attempt was stopped is gone; who did not is not, whatever the stop makes of the context.
func TestBody_Gone(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]bool{"before the stop": true, "because of it": false} {
		ctx, cancel := context.WithCancel(t.Context())
		b, _ := bodyOf(ctx, strings.NewReader(""), 0, 0)
		if before {
			cancel()
		}
		b.Stop()
		cancel()
		if b.Gone() != before {
			t.Errorf("the context ends %s: gone is %v", name, b.Gone())
		}
	}
}

func TestFaultOf(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		err  error
		want Fault
	}{
		"a deadline":            {&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, Late},
		"an end in mid-body":    {io.ErrUnexpectedEOF, Lost},
		"a reset":               {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, Lost},
		"a closed connection":   {net.ErrClosed, Lost},
		"rubbish in the chunks": {errors.New("invalid byte in chunk length"), Invalid},
		"a wrapped end":         {fmt.Errorf("body: %w", io.ErrUnexpectedEOF), Lost},
	} {
		if got := (&Body{http1: true}).faultOf(tt.err); got != tt.want {
			t.Errorf("%s: got %v, want %v", name, got, tt.want)
		}
	}
}
