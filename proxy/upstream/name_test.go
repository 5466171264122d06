package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pace/proxy/transport"
	"pace/proxy/transport/http1"
)

// network is a network in memory: a name server, and a backend at every address.
type network struct {
	mu     sync.Mutex // guards what follows
	names  string     // what every name resolves to, separated by spaces
	err    error      // of a lookup
	takes  time.Duration
	asked  int
	dialed []string
	served map[string]int // requests by address
	open   map[string]int // connections by address

	// Addresses of backends that fail; set them first.
	refuses string // connections
	busy    string // it responds 503
}

func (n *network) lookup(ctx context.Context, host string) (found []netip.Addr, err error) {
	n.mu.Lock()
	n.asked++
	takes := n.takes
	n.mu.Unlock()
	select {
	case <-time.After(takes):
	case <-ctx.Done():
		return nil, &net.OpError{Op: "lookup", Err: ctx.Err()}
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for a := range strings.FieldsSeq(n.names) {
		found = append(found, netip.MustParseAddr(a))
	}
	return found, n.err
}

func (n *network) dial(_ context.Context, _, addr string) (net.Conn, error) {
	if addr == n.refuses {
		return nil, &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	}
	ours, theirs := net.Pipe()
	n.mu.Lock()
	n.dialed = append(n.dialed, addr)
	n.open[addr]++
	n.mu.Unlock()
	go func() {
		defer theirs.Close()
		for r := bufio.NewReader(theirs); ; {
			if _, err := http.ReadRequest(r); err != nil {
				n.mu.Lock()
				n.open[addr]--
				n.mu.Unlock()
				return
			}
			n.mu.Lock()
			n.served[addr]++
			n.mu.Unlock()
			status := "200 OK"
			if addr == n.busy {
				status = "503 Service Unavailable"
			}
			io.WriteString(theirs, "HTTP/1.1 "+status+"\r\nContent-Length: 2\r\n\r\nhi")
		}
	}()
	return ours, nil
}

// resolveTo changes what names resolve to.
func (n *network) resolveTo(names string, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names, n.err = names, err
}

// seen waits until nothing happens any more, and returns what the network has seen.
func (n *network) seen() (served, open map[string]int, dialed []string, asked int) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	return maps.Clone(n.served), maps.Clone(n.open), slices.Sorted(slices.Values(n.dialed)), n.asked
}

// forget forgets what was served.
func (n *network) forget() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.served)
}

// inBubble runs f with a network and the options of an upstream in it.
func inBubble(t *testing.T, f func(t *testing.T, n *network, o Options)) {
	synctest.Test(t, func(t *testing.T) {
		n := &network{names: "10.0.0.1", served: map[string]int{}, open: map[string]int{}}
		o := Options{
			Name: "default", Addresses: []Address{{Addr: "backend:80"}}, Resolve: 30 * time.Second,
			Lookup: n.lookup, Transport: http1.Options{Dial: n.dial, ConnectTimeout: time.Second, IdleTimeout: time.Hour},
		}
		f(t, n, o)
	})
}

// get makes a request for which b was picked, reads the response, and lets go of b.
func get(t *testing.T, b *Backend, onPhase func(transport.Phase)) error {
	t.Helper()
	at, err := b.Resolve(t.Context(), onPhase)
	if err != nil {
		b.End()
		return err
	}
	defer at.End()
	var resp transport.Response
	if err := at.Do(t.Context(), &transport.Request{Method: "GET", Target: "/", Host: "x", OnPhase: onPhase}, &resp); err != nil {
		return err
	}
	defer resp.Close()
	for err == nil {
		_, err = resp.Next()
	}
	if err != io.EOF {
		return err
	}
	return nil
}

// ask asks u as a request does, n times.
func ask(t *testing.T, u *Upstream, n int) {
	t.Helper()
	for range n {
		if err := get(t, u.First(&Request{}).Backend, nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestResolve_OfAnUnknownName(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addr  string
		takes time.Duration
		err   error
		none  bool
		kind  transport.Kind // 0: it connects
		says  string
		dns   time.Duration
	}{
		{name: "a name is resolved, then connected to", addr: "backend:80", takes: 300 * time.Millisecond, dns: 300 * time.Millisecond},
		{name: "an address is connected to", addr: "192.0.2.1:80"},
		{name: "an IPv6 address is connected to", addr: "[2001:db8::1]:80"},
		{name: "a name does not exist", addr: "backend:80", err: &net.DNSError{Err: "no such host", IsNotFound: true}, kind: transport.DNSFailed},
		{name: "a name server says that it has failed", addr: "backend:80", err: &net.DNSError{Err: "server misbehaving", IsTemporary: true}, kind: transport.DNSFailed},
		{name: "a name server responds too late for itself", addr: "backend:80", err: &net.DNSError{Err: "i/o timeout", IsTimeout: true}, kind: transport.DNSFailed},
		{name: "a name takes longer than connect_timeout", addr: "backend:80", takes: time.Hour, kind: transport.DNSFailed, says: "i/o timeout", dns: time.Second},
		{name: "a name has no address", addr: "backend:80", none: true, kind: transport.DNSFailed, says: "lookup backend: no address"},
		{name: "there is no descriptor for a lookup", addr: "backend:80", err: &net.OpError{Op: "dial", Err: syscall.EMFILE}, kind: transport.Exhausted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network, o Options) {
				n.takes, n.err = tt.takes, tt.err
				if tt.none {
					n.names = ""
				}
				o.Addresses[0].Addr = tt.addr
				u := New(o, nil)
				defer u.Close()
				spent, now, since := map[transport.Phase]time.Duration{}, transport.Phase(0), time.Now()
				err := get(t, u.First(&Request{}).Backend, func(p transport.Phase) {
					spent[now] += time.Since(since)
					now, since = p, time.Now()
				})
				spent[now] += time.Since(since)
				if spent[transport.DNS] != tt.dns || spent[0] != 0 {
					t.Errorf("phases %v", spent)
				}
				e, failed := errors.AsType[*transport.Error](err)
				switch {
				case tt.kind == 0 && err != nil:
					t.Error(err)
				case tt.kind != 0 && (!failed || e.Kind != tt.kind || e.Phase != transport.DNS || !strings.Contains(err.Error(), tt.says)):
					t.Errorf("got %v, want %v in dns", err, tt.kind)
				}
			})
		})
	}
}

func TestResolve_CanceledInALookup(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		n.takes = time.Hour
		u := New(o, nil)
		defer u.Close()
		why := errors.New("the client has left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Millisecond, func() { cancel(why) })
		_, err := u.First(&Request{}).Backend.Resolve(ctx, nil)
		if e, ok := errors.AsType[*transport.Error](err); !ok || e.Kind != transport.Canceled || !errors.Is(err, why) {
			t.Errorf("got %v", err)
		}
	})
}

func TestName_EachAddressIsABackend(t *testing.T) {
	for _, tt := range []struct{ name, found, want string }{
		{"one", "10.0.0.1", "10.0.0.1:80"},
		{"three in any order, one twice", "10.0.0.3 10.0.0.1 10.0.0.2 10.0.0.1", "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		{"of two families, the one that goes first", "10.0.0.1 2001:db8::1 10.0.0.2", "10.0.0.1:80 10.0.0.2:80"},
		{"IPv6 in brackets", "2001:db8::1 10.0.0.1", "[2001:db8::1]:80"},
		{"an IPv4 address in IPv6's form", "::ffff:10.0.0.1 10.0.0.2", "10.0.0.1:80 10.0.0.2:80"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network, o Options) {
				n.names = tt.found
				u := New(o, nil)
				defer u.Close()
				ask(t, u, 1)
				var got []string
				for _, b := range u.Backends() {
					got = append(got, b.Addr)
					if b.Authority != "backend:80" {
						t.Errorf("a Host field would say %q", b.Authority)
					}
				}
				if strings.Join(got, " ") != tt.want {
					t.Errorf("got %v, want %s", got, tt.want)
				}
			})
		})
	}
}

// An address that one family cannot reach is reached by the other, within the attempt.
func TestName_TheOtherFamilyIsTried(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		n.names = "2001:db8::1 10.0.0.1"
		dial := o.Transport.Dial
		o.Transport.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.HasPrefix(addr, "[") {
				return nil, &net.OpError{Op: "dial", Err: syscall.ENETUNREACH}
			}
			return dial(ctx, network, addr)
		}
		u := New(o, nil)
		defer u.Close()
		ask(t, u, 3)
		if served, _, _, _ := n.seen(); served["10.0.0.1:80"] != 3 {
			t.Errorf("served %v", served)
		}
	})
}

// TestName_IsResolvedAgain asks once a second for two minutes, while the name's addresses change.
func TestName_IsResolvedAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		var log bytes.Buffer
		o.Log = slog.New(slog.NewTextHandler(&log, nil))
		once := o
		once.Resolve = 0
		o.Addresses = append(o.Addresses, Address{Addr: "10.0.0.9:80"})
		u, u1 := New(o, nil), New(once, nil)
		seconds := func(count int) map[string]int {
			n.forget()
			for range count {
				ask(t, u, 2)
				time.Sleep(time.Second)
			}
			served, _, _, _ := n.seen()
			return served
		}
		seconds(10)
		n.resolveTo("10.0.0.1 10.0.0.2", nil)
		seconds(21)
		if got := seconds(30); !maps.Equal(got, map[string]int{"10.0.0.1:80": 20, "10.0.0.2:80": 20, "10.0.0.9:80": 20}) {
			t.Errorf("after an address has appeared: %v", got)
		}
		n.resolveTo("10.0.0.2", nil)
		seconds(31)
		if got := seconds(30); !maps.Equal(got, map[string]int{"10.0.0.2:80": 30, "10.0.0.9:80": 30}) {
			t.Errorf("after an address has vanished: %v", got)
		}
		if _, open, _, _ := n.seen(); open["10.0.0.1:80"] != 0 {
			t.Errorf("%d connections to the address that has vanished are open", open["10.0.0.1:80"])
		}
		n.resolveTo("", errors.New("name server on fire"))
		seconds(31)
		if got := seconds(30); !maps.Equal(got, map[string]int{"10.0.0.2:80": 30, "10.0.0.9:80": 30}) {
			t.Errorf("while the name server fails: %v", got)
		}
		want := []string{
			`msg="addresses of a name changed" upstream=default name=backend appeared=[10.0.0.2:80] gone=[]`,
			`msg="addresses of a name changed" upstream=default name=backend appeared=[] gone=[10.0.0.1:80]`,
			`msg="name not resolved, its last addresses stay in use" upstream=default name=backend error="name server on fire"`,
		}
		for line := range strings.Lines(log.String()) {
			_, rest, _ := strings.Cut(strings.TrimSpace(line), " level=")
			_, rest, _ = strings.Cut(rest, " ")
			if len(want) == 0 || rest != want[0] {
				t.Errorf("log says %q, want %q", rest, want)
				break
			}
			want = want[1:]
		}
		if len(want) > 0 {
			t.Errorf("the log does not say %q", want)
		}
		u.Close()
		_, _, dialed, asked := n.seen()
		if !slices.Equal(dialed, []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.9:80"}) {
			t.Errorf("dialed %q, want each address once", dialed)
		}
		n.resolveTo("10.0.0.5", nil)
		ask(t, u1, 1)
		time.Sleep(time.Hour)
		u1.Close()
		if _, _, _, now := n.seen(); now != asked+1 {
			t.Errorf("%d lookups, want 1: of the name that is resolved once, none of the upstream that is closed", now-asked)
		}
	})
}

// A new upstream goes on with what the one before has, and closes what it does not take over.
func TestNew_TakesOverWhatStaysTheSame(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		n.names = "10.0.0.1 10.0.0.2"
		o.Addresses = append(o.Addresses, Address{Addr: "10.0.0.8:80"}, Address{Network: "unix", Addr: "/run/app.sock"})
		before := New(o, nil)
		ask(t, before, 1) // resolves
		ask(t, before, 4)

		o.Addresses = []Address{{Addr: "10.0.0.9:80"}, {Addr: "backend:80", Weight: 3}, {Network: "unix", Addr: "/run/app.sock"}}
		o.Retry.Failovers, o.Resolve = 5, time.Hour
		refused := New(o, before) // a configuration that is refused after all
		refused.Close()
		after := New(o, before)
		before.Close()
		if _, open, _, _ := n.seen(); open["10.0.0.8:80"] != 0 {
			t.Error("the connection to a backend that is gone is open")
		}
		ask(t, after, 8)
		want := []string{"10.0.0.1:80", "10.0.0.2:80", "10.0.0.8:80", "10.0.0.9:80", "/run/app.sock"}
		slices.Sort(want)
		if _, _, dialed, asked := n.seen(); !slices.Equal(dialed, want) || asked != 1 {
			t.Errorf("%d lookups, dialed %q: want one, and each backend dialed once", asked, dialed)
		}

		o.Transport.ResponseTimeout = time.Minute
		changed := New(o, after)
		after.Close()
		if _, open, _, _ := n.seen(); sum(open) != 0 {
			t.Errorf("open are %v, though they were made in another way", open)
		}
		ask(t, changed, 8)
		changed.Close()
		if _, open, _, _ := n.seen(); sum(open) != 0 {
			t.Errorf("open are %v in the end", open)
		}
	})
}

func sum(counts map[string]int) (n int) {
	for _, k := range counts {
		n += k
	}
	return n
}

// A request that still uses a closed upstream goes on, also where it must resolve a name first.
func TestClose_LetsRequestsGoOn(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		u := New(o, nil)
		first := u.Backends()[0]
		u.Close()
		for range 3 {
			if err := get(t, first, nil); err != nil {
				t.Fatal(err)
			}
		}
		ask(t, u, 2)
		if _, open, _, _ := n.seen(); sum(open) != 0 {
			t.Errorf("open are %v", open)
		}
	})
}

func TestName_ThatIsConfiguredTooHasBothWeights(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network, o Options) {
		n.names = "10.0.0.1 10.0.0.2"
		o.Addresses = []Address{{Addr: "10.0.0.1:80"}, {Addr: "backend:80", Weight: 2}}
		u := New(o, nil)
		defer u.Close()
		ask(t, u, 2) // the second resolves the name
		n.forget()
		ask(t, u, 60)
		served, _, dialed, _ := n.seen()
		if !maps.Equal(served, map[string]int{"10.0.0.1:80": 36, "10.0.0.2:80": 24}) || len(dialed) != 2 {
			t.Errorf("served %v, dialed %q", served, dialed)
		}
	})
}
