//go:build linux

package contract

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"pace/e2e/pacetest"
)

// samePorts starts a backend at each host, all at one port.
func samePorts(t *testing.T, hosts ...string) (backends []*pacetest.Backend, port string) {
	t.Helper()
	for range 20 {
		first, err := net.Listen("tcp", hosts[0]+":0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ = net.SplitHostPort(first.Addr().String())
		first.Close()
		free := true
		for _, host := range hosts {
			l, err := net.Listen("tcp", host+":"+port)
			if free = free && err == nil; err == nil {
				l.Close()
			}
		}
		if !free {
			continue
		}
		for _, host := range hosts {
			backends = append(backends, pacetest.NewBackendAt(t, host+":"+port, pacetest.Fine))
		}
		return backends, port
	}
	t.Fatal("no port is free at all hosts")
	return nil, ""
}

// TestNames_AddressesComeAndGo under load: each address of a name is a backend, an address that appears is used,
// one that vanishes is drained, and no request fails.
func TestNames_AddressesComeAndGo(t *testing.T) {
	t.Parallel()
	backends, port := samePorts(t, "127.77.0.1", "127.77.0.2", "127.77.0.3")
	a, b, c := backends[0], backends[1], backends[2]
	pacetest.Binary(t) // built where the machine's names are known
	names := newNameServer(t, 0, "127.77.0.1", "127.77.0.2")
	resolveBy(t, names.host)
	p := pacetest.Start(t, pacetest.Config{"upstreams": pacetest.Table{
		"backends": []string{"http://backend.test:" + port}, "resolve": "50ms", "max_retries": 0,
	}}, "GODEBUG=netdns=go")

	const askers = 8
	var sent [askers]atomic.Int64
	stop := make(chan struct{})
	var clients sync.WaitGroup
	failed := make(chan error, askers)
	for i := range askers {
		clients.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				got := p.Send([]string{"GET", "POST"}[(i+n)%2], fmt.Sprintf("/%d", i), "data")
				sent[i].Add(1)
				if got.Err != nil || got.Status != 200 {
					failed <- fmt.Errorf("status %d, %v", got.Status, got.Err)
					return
				}
			}
		})
	}
	wantUse(t, a, b)
	names.resolveTo("127.77.0.1", "127.77.0.2", "127.77.0.3")
	wantUse(t, a, b, c)
	names.resolveTo("127.77.0.2", "127.77.0.3")
	pacetest.Eventually(t, func() error { // until nobody picks it any more
		if has(p.Exposition("text/plain"), `pace_backend_active_requests{pace_upstream="default",server_address="127.77.0.1"`) == nil {
			return errors.New("an address that has vanished is in the pool")
		}
		return nil
	})
	for i := range sent { // and those that had picked it have their responses
		before := sent[i].Load()
		pacetest.Eventually(t, func() error {
			if sent[i].Load() == before {
				return fmt.Errorf("client %d still waits", i)
			}
			return nil
		})
	}
	pacetest.Eventually(t, func() error {
		if n := a.Open(); n > 0 {
			return fmt.Errorf("%d connections to an address that has vanished are open", n)
		}
		return nil
	})
	last := len(a.Requests())
	a.Kill()
	wantUse(t, b, c)
	close(stop)
	clients.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	if n := len(a.Requests()); n != last {
		t.Errorf("%d requests came to the address after it was drained", n-last)
	}
	total := int64(0)
	for i := range sent {
		total += sent[i].Load()
	}
	p.WantMetric(float64(total), "http_server_request_duration_seconds_count", "pace_outcome", "ok")
	for _, b := range []*pacetest.Backend{b, c} { // the first requests found a name that was not resolved yet
		host, _, _ := net.SplitHostPort(b.Address())
		served := p.Metrics().Sum("http_client_request_duration_seconds_count", "server_address", host)
		unresolved := p.Metrics().Sum("http_client_request_duration_seconds_count", "server_address", "backend.test")
		if got := float64(len(b.Requests())); got < served || got > served+unresolved {
			t.Errorf("%s got %v requests, the metric says %v, and %v found the name unresolved", host, got, served, unresolved)
		}
	}
	if got := p.Get("/x").Header.Get("X-Backend"); got != b.Name() && got != c.Name() {
		t.Errorf("X-Backend is %q", got)
	}
	if lines := p.Lines("addresses of a name changed"); len(lines) != 2 {
		t.Errorf("the log has %d lines of changes, want 2: %v", len(lines), lines)
	}
}

// wantUse waits until each of the backends has got 20 more requests.
func wantUse(t *testing.T, backends ...*pacetest.Backend) {
	t.Helper()
	before := map[*pacetest.Backend]int{}
	for _, b := range backends {
		before[b] = len(b.Requests())
	}
	pacetest.Eventually(t, func() error {
		var errs []error
		for b, n := range before {
			if got := len(b.Requests()) - n; got < 20 {
				errs = append(errs, fmt.Errorf("%s got %d more requests", b.Address(), got))
			}
		}
		return errors.Join(errs...)
	})
}
