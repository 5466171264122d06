package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pace/proxy/transport"
)

// spent notes the time that an exchange's phases take, as a proxy does.
type spent struct {
	of    map[transport.Phase]time.Duration
	now   transport.Phase
	since time.Time
}

func (s *spent) enter(p transport.Phase) {
	s.of[s.now] += time.Since(s.since)
	s.now, s.since = p, time.Now()
}

func TestDo_ResolvingIsAPhase(t *testing.T) {
	const handshake = 200 * time.Millisecond
	tests := []struct {
		name         string
		addr         string
		lookup       time.Duration
		err          error
		kind         transport.Kind // 0: it connects
		phase        transport.Phase
		dns, connect time.Duration
	}{
		{name: "a name is resolved, then connected to", addr: "backend:80", lookup: 300 * time.Millisecond, dns: 300 * time.Millisecond, connect: handshake},
		{name: "an address is connected to", addr: "192.0.2.1:80", connect: handshake},
		{name: "an IPv6 address is connected to", addr: "[2001:db8::1]:80", connect: handshake},
		{name: "a name does not exist", addr: "backend:80", err: &net.DNSError{Err: "no such host", IsNotFound: true}, kind: transport.DNSFailed, phase: transport.DNS},
		{name: "a name server says that it has failed", addr: "backend:80", err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}, kind: transport.DNSFailed, phase: transport.DNS},
		{name: "a name server responds too late for itself", addr: "backend:80", err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}, kind: transport.DNSFailed, phase: transport.DNS},
		{name: "a name takes longer than connect_timeout", addr: "backend:80", lookup: time.Hour, kind: transport.DNSFailed, phase: transport.DNS},
		{name: "there is no descriptor for a lookup", addr: "backend:80", err: &net.OpError{Op: "dial", Err: syscall.EMFILE}, kind: transport.Exhausted, phase: transport.DNS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(okHello)(c, r); hang(c, r) })
				o, dial := p.o, p.o.Dial
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					time.Sleep(handshake)
					return dial(ctx, network, addr)
				}
				o.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
					if host != "backend" {
						t.Errorf("resolves %q", host)
					}
					select {
					case <-time.After(tt.lookup):
						return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, tt.err
					case <-ctx.Done():
						return nil, &net.OpError{Op: "lookup", Err: ctx.Err()}
					}
				}
				p = NewPool(tt.addr, o)
				took, req := spent{of: map[transport.Phase]time.Duration{}, since: time.Now()}, get("/")
				req.OnPhase = took.enter
				var resp Response
				err := p.Do(t.Context(), req, &resp)
				if tt.kind != 0 {
					if e := wantKind(t, err, tt.kind); e.Phase != tt.phase {
						t.Errorf("failed in %v, want %v", e.Phase, tt.phase)
					}
					return
				}
				if err != nil || took.of[transport.DNS] != tt.dns || took.of[transport.Connect] != tt.connect {
					t.Errorf("%v, phases %v", err, took.of)
				}
				resp.Close()
			})
		})
	}
}

// errSilent is an address that does not respond to a SYN.
var errSilent = errors.New("silent")

// TestDo_TriesEveryAddressOfAName scripts what becomes of a dial to each address.
func TestDo_TriesEveryAddressOfAName(t *testing.T) {
	refused, noPort := fromSystem("refused", syscall.ECONNREFUSED), fromSystem("no port", syscall.EADDRNOTAVAIL)
	tests := []struct {
		name     string
		found    string // what the name resolves to
		responds map[string]error
		timeout  time.Duration // connect_timeout; 0: 1 s
		want     string        // the addresses dialed, in order
		took     time.Duration
		kind     transport.Kind // 0: it connects
		says     []string       // in the error
	}{
		{
			name: "the second responds while the first is silent", found: "10.0.0.1 10.0.0.2",
			responds: map[string]error{"10.0.0.1": errSilent}, want: "10.0.0.1 10.0.0.2", took: 250 * time.Millisecond,
		},
		{
			name: "the last of five responds within the time though four are silent", found: "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5",
			responds: map[string]error{"10.0.0.1": errSilent, "10.0.0.2": errSilent, "10.0.0.3": errSilent, "10.0.0.4": errSilent},
			want:     "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5", took: 800 * time.Millisecond,
		},
		{
			name: "a share of a short time is short", found: "10.0.0.1 10.0.0.2", timeout: 100 * time.Millisecond,
			responds: map[string]error{"10.0.0.1": errSilent}, want: "10.0.0.1 10.0.0.2", took: 50 * time.Millisecond,
		},
		{
			name: "the next is tried at once when one refuses", found: "10.0.0.1 10.0.0.2 10.0.0.3",
			responds: map[string]error{"10.0.0.1": refused, "10.0.0.2": refused}, want: "10.0.0.1 10.0.0.2 10.0.0.3",
		},
		{
			name: "the families take turns", found: "2001:db8::1 2001:db8::2 10.0.0.1",
			responds: map[string]error{"2001:db8::1": errSilent}, want: "2001:db8::1 10.0.0.1", took: 250 * time.Millisecond,
		},
		{
			name: "all are silent, and each is named", found: "10.0.0.1 10.0.0.2",
			responds: map[string]error{"10.0.0.1": errSilent, "10.0.0.2": errSilent}, want: "10.0.0.1 10.0.0.2",
			took: time.Second, kind: transport.ConnectTimeout, says: []string{"dial tcp 10.0.0.1:80: i/o timeout", "dial tcp 10.0.0.2:80: i/o timeout"},
		},
		{
			name: "one is silent and one refuses: the time ran out", found: "10.0.0.1 10.0.0.2",
			responds: map[string]error{"10.0.0.1": errSilent, "10.0.0.2": refused}, want: "10.0.0.1 10.0.0.2",
			took: time.Second, kind: transport.ConnectTimeout, says: []string{"10.0.0.1:80: i/o timeout", "refused"},
		},
		{
			name: "one cannot be reached from here and one refuses: it is the backend's doing", found: "2001:db8::1 10.0.0.1",
			responds: map[string]error{"2001:db8::1": noPort, "10.0.0.1": refused}, want: "2001:db8::1 10.0.0.1", kind: transport.ConnectFailed,
		},
		{
			name: "there is no port for any", found: "10.0.0.1 10.0.0.2",
			responds: map[string]error{"10.0.0.1": noPort, "10.0.0.2": noPort}, want: "10.0.0.1 10.0.0.2", kind: transport.Exhausted,
		},
		{name: "a name without addresses", kind: transport.DNSFailed, says: []string{"lookup backend: no address"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(okHello)(c, r); hang(c, r) })
				o, dial, dialed := p.o, p.o.Dial, []string{}
				var mu sync.Mutex // guards dialed
				if tt.timeout != 0 {
					o.ConnectTimeout = tt.timeout
				}
				o.Lookup = func(context.Context, string) (found []netip.Addr, _ error) {
					for a := range strings.FieldsSeq(tt.found) {
						found = append(found, netip.MustParseAddr(a))
					}
					return found, nil
				}
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					host, _, _ := net.SplitHostPort(addr)
					mu.Lock() // one after the other, for time stands still in between; but on goroutines of their own
					dialed = append(dialed, host)
					mu.Unlock()
					switch err := tt.responds[host]; err {
					case nil:
						return dial(ctx, network, addr)
					case errSilent:
						<-ctx.Done()
						return nil, fmt.Errorf("dial %s: %w", addr, ctx.Err())
					default:
						return nil, err
					}
				}
				p = NewPool("backend:80", o)
				var resp Response
				start := time.Now()
				err := p.Do(t.Context(), get("/"), &resp)
				if took := elapsed(start); took != tt.took {
					t.Errorf("took %v, want %v", took, tt.took)
				}
				mu.Lock()
				defer mu.Unlock()
				if got := strings.Join(dialed, " "); got != tt.want {
					t.Errorf("dialed %q, want %q", got, tt.want)
				}
				if tt.kind == 0 {
					if err != nil {
						t.Error(err)
					}
					resp.Close()
					return
				}
				text := wantKind(t, err, tt.kind).Error()
				for _, want := range tt.says {
					if !strings.Contains(text, want) {
						t.Errorf("the error %q does not say %q", text, want)
					}
				}
			})
		})
	}
}

// fromSystem is an error of the system, as net tells it.
func fromSystem(op string, errno syscall.Errno) error { return &net.OpError{Op: op, Err: errno} }

// TestDo_WhatThisMachineLacksIsNotTheBackends for each error that says so.
func TestDo_WhatThisMachineLacksIsNotTheBackends(t *testing.T) {
	for errno, kind := range map[syscall.Errno]transport.Kind{
		syscall.EMFILE: transport.Exhausted, syscall.ENFILE: transport.Exhausted, syscall.EADDRNOTAVAIL: transport.Exhausted, syscall.ENOBUFS: transport.Exhausted, syscall.ENOMEM: transport.Exhausted,
		syscall.ECONNREFUSED: transport.ConnectFailed, syscall.EHOSTUNREACH: transport.ConnectFailed, syscall.ENETUNREACH: transport.ConnectFailed, syscall.ETIMEDOUT: transport.ConnectTimeout,
	} {
		p := NewPool("192.0.2.1:80", Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, fromSystem("dial", errno) }})
		var resp Response
		wantKind(t, p.Do(t.Context(), get("/"), &resp), kind)
	}
}

// TestDo_FollowsANameThatMoves asks steadily, and never waits for an idle connection to expire.
func TestDo_FollowsANameThatMoves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) {
			for {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
				for line, err := r.ReadString('\n'); line != "\r\n"; line, err = r.ReadString('\n') {
					if err != nil {
						return
					}
				}
				io.WriteString(c, okHello)
			}
		})
		o, dial, dialed := p.o, p.o.Dial, []string{}
		now := "10.0.0.1"
		o.Lookup = func(context.Context, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.MustParseAddr(now)}, nil
		}
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			dialed = append(dialed, addr)
			return dial(ctx, network, addr)
		}
		named, literal := NewPool("backend:80", o), NewPool("10.0.0.9:80", o)
		for i := range 120 {
			if i == 10 {
				now = "10.0.0.2"
			}
			for _, p := range []*Pool{named, literal} {
				var resp Response
				if err := p.Do(t.Context(), get("/"), &resp); err != nil {
					t.Fatal(err)
				}
				for {
					if _, err := resp.Next(); err != nil {
						break
					}
				}
				resp.Close()
			}
			time.Sleep(time.Second)
		}
		want := []string{"10.0.0.1:80", "10.0.0.9:80", "10.0.0.2:80", "10.0.0.2:80", "10.0.0.2:80"}
		if !slices.Equal(dialed, want) {
			t.Errorf("dialed %q, want %q: a name's every 30 s, an address once", dialed, want)
		}
		named.Close()
		literal.Close()
	})
}
