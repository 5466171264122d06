package acme

import (
	"crypto/tls"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// Certificates that live for 40 s are renewed again and again, while clients make handshakes all the time and others
// keep their connections. No handshake fails, no client sees an expired certificate, and no request fails.
func TestRenewal_WhileClientsComeAndGo(t *testing.T) {
	t.Parallel()
	const renewals = 3
	w := newWorld(t, options{validity: 40 * time.Second}, "a.test")
	w.ca.Start()
	p := pacetest.StartUnready(t, w.config)
	roots := w.ca.Roots()
	w.await(t, "a.test", roots)
	refused := p.Metrics().Sum("pace_refused_total", "reason", "tls_handshake") // before there was a certificate

	var clients sync.WaitGroup
	var handshakes, requests atomic.Int64
	var serials sync.Map
	over := make(chan struct{})
	until := func(do func()) {
		clients.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond): // or a renewal has no processor left
					do()
				}
			}
		})
	}
	for range 3 {
		until(func() {
			c, err := w.shown("a.test", roots) // which checks the time, too
			if err != nil {
				t.Error(err)
				return
			}
			handshakes.Add(1)
			serials.Store(c.SerialNumber.String(), true)
		})
	}
	for _, mode := range []pacetest.Mode{pacetest.H1, pacetest.H2C} {
		client := pacetest.ClientOver(t, mode, &tls.Config{ServerName: "a.test", RootCAs: roots})
		until(func() {
			req, err := http.NewRequest("GET", "https://"+w.secure+"/", nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got := pacetest.Do(client, req); got.Status != 200 || got.Err != nil {
				t.Errorf("%s: got %d, %v", mode, got.Status, got.Err)
			}
			requests.Add(1)
		})
	}
	seen := 0
	for want := range renewals {
		pacetest.Eventually(t, func() error {
			seen = 0
			serials.Range(func(any, any) bool { seen++; return true })
			if n := len(p.Lines("certificate renewed")); n <= want || seen <= want+1 {
				return notYet("%d renewals, and clients saw %d certificates, want more than %d", n, seen, want)
			}
			return nil
		})
	}
	close(over)
	clients.Wait()
	p.WantMetric(refused, "pace_refused_total", "reason", "tls_handshake")
	p.WantMetric(0, "pace_acme_failures_total")
	t.Logf("%d handshakes and %d requests over %d certificates", handshakes.Load(), requests.Load(), seen)
}
