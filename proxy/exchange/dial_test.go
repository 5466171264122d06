package exchange

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"testing/synctest"
	"time"
)

// spent notes the time that an exchange's phases take, as a proxy does.
type spent struct {
	of    map[Phase]time.Duration
	now   Phase
	since time.Time
}

func (s *spent) enter(p Phase) {
	s.of[s.now] += time.Since(s.since)
	s.now, s.since = p, time.Now()
}

func TestDo_ResolvingIsAPhase(t *testing.T) {
	const lookup, handshake = 300 * time.Millisecond, 200 * time.Millisecond
	done, failed := httptrace.DNSDoneInfo{}, httptrace.DNSDoneInfo{Err: errors.New("no such host")}
	for name, tt := range map[string]struct {
		dial         func(*httptrace.ClientTrace) error
		kind         Kind // 0: it connects
		phase        Phase
		dns, connect time.Duration
	}{
		"a name is resolved, then connected to": {dial: func(l *httptrace.ClientTrace) error {
			l.DNSStart(httptrace.DNSStartInfo{})
			time.Sleep(lookup)
			l.DNSDone(done)
			time.Sleep(handshake)
			return nil
		}, dns: lookup, connect: handshake},
		"an address is connected to": {dial: func(*httptrace.ClientTrace) error { time.Sleep(handshake); return nil }, connect: handshake},
		"a name is resolved beside the dial": {dial: func(l *httptrace.ClientTrace) error {
			l.DNSStart(httptrace.DNSStartInfo{})
			go func() { time.Sleep(lookup); l.DNSDone(done) }()
			time.Sleep(lookup + handshake)
			return nil
		}, dns: lookup, connect: handshake},
		"a name does not exist": {dial: func(l *httptrace.ClientTrace) error {
			l.DNSStart(httptrace.DNSStartInfo{})
			time.Sleep(lookup)
			l.DNSDone(failed)
			return failed.Err
		}, kind: ConnectFailed, phase: DNS},
		"a name that was resolved cannot be connected to": {dial: func(l *httptrace.ClientTrace) error {
			l.DNSStart(httptrace.DNSStartInfo{})
			l.DNSDone(done)
			time.Sleep(handshake)
			return io.ErrClosedPipe
		}, kind: ConnectFailed, phase: Connect},
		"a name takes too long": {dial: func(l *httptrace.ClientTrace) error {
			l.DNSStart(httptrace.DNSStartInfo{})
			time.Sleep(time.Second)
			l.DNSDone(failed)
			return context.DeadlineExceeded
		}, kind: ConnectTimeout, phase: DNS},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { answer(okHello)(c, r); hang(c, r) })
				dial := p.o.Dial
				p.o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					if err := tt.dial(httptrace.ContextClientTrace(ctx)); err != nil {
						return nil, err
					}
					return dial(ctx, network, addr)
				}
				took, req := spent{of: map[Phase]time.Duration{}, since: time.Now()}, get("/")
				req.OnPhase = took.enter
				var resp Response
				err := p.Do(t.Context(), req, &resp)
				if tt.kind != 0 {
					if e := wantKind(t, err, tt.kind); e.Phase != tt.phase {
						t.Errorf("failed in %v, want %v", e.Phase, tt.phase)
					}
					return
				}
				if err != nil || took.of[DNS] != tt.dns || took.of[Connect] != tt.connect {
					t.Errorf("%v, phases %v", err, took.of)
				}
				resp.Close()
			})
		})
	}
}

// A lookup that others share may be told of after the dial that began it, even after its exchange.
func TestDo_IgnoresALookupThatIsLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := http.ReadRequest(r); err != nil {
					return
				}
				time.Sleep(time.Minute / 4)
				io.WriteString(c, okHello)
			}
		})
		dial := p.o.Dial
		p.o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			late := httptrace.ContextClientTrace(ctx)
			for i := range 2 { // while the exchange waits, and while the next one dials
				time.AfterFunc(time.Duration(10+15*i)*time.Second, func() {
					late.DNSStart(httptrace.DNSStartInfo{})
					late.DNSDone(httptrace.DNSDoneInfo{})
				})
			}
			time.Sleep(time.Second / 2)
			return dial(ctx, network, addr)
		}
		var resp Response
		for range 2 {
			req, told := get("/"), 0
			req.NewConnection = true
			req.OnPhase = func(p Phase) {
				if told++; p == DNS {
					t.Error("told of a lookup that is none of its own")
				}
			}
			if err := p.Do(t.Context(), req, &resp); err != nil || told != 3 {
				t.Errorf("%v, told of %d phases", err, told)
			}
			resp.Close()
			time.Sleep(25*time.Second - time.Since(bubbleStart) - time.Second/4) // in the middle of the next dial it is 25 s
		}
		synctest.Wait()
	})
}
