package http1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/dial"
)

// errSilent is an address that does not respond to a SYN.
var errSilent = errors.New("silent")

// TestDo_TriesEveryAddressOfABackend scripts what becomes of a dial to each address.
func TestDo_TriesEveryAddressOfABackend(t *testing.T) {
	refused, noPort := fromSystem("refused", syscall.ECONNREFUSED), fromSystem("no port", syscall.EADDRNOTAVAIL)
	tests := []struct {
		name     string
		found    string // the backend's addresses
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
			name: "one of another family is tried when one is silent", found: "2001:db8::1 10.0.0.1",
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
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := pipes(Options{}, func(c net.Conn, r *bufio.Reader) { respond(okHello)(c, r); hang(c, r) })
				o, connect, dialed := p.o, p.o.Dial, []string{}
				var mu sync.Mutex // guards dialed
				if tt.timeout != 0 {
					o.ConnectTimeout = tt.timeout
				}
				var found []string
				for a := range strings.FieldsSeq(tt.found) {
					found = append(found, net.JoinHostPort(a, "80"))
				}
				o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
					host, _, _ := net.SplitHostPort(addr)
					mu.Lock() // one after the other, for time stands still in between; but on goroutines of their own
					dialed = append(dialed, host)
					mu.Unlock()
					switch err := tt.responds[host]; err {
					case nil:
						return connect(ctx, network, addr)
					case errSilent:
						<-ctx.Done()
						return nil, fmt.Errorf("dial %s: %w", addr, ctx.Err())
					default:
						return nil, err
					}
				}
				p = NewPool(dial.Address{Network: "tcp", Addr: found[0], Others: found[1:]}, o)
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
		p := NewPool(at("192.0.2.1:80"), Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, fromSystem("dial", errno) }})
		var resp Response
		wantKind(t, p.Do(t.Context(), get("/"), &resp), kind)
	}
}
