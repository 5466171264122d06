package dashboards

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

var (
	picture = flag.Bool("picture", false, "draw the README's picture of the dashboard")
	lasts   = flag.Duration("lasts", 4*time.Minute, "how long the traffic for the picture lasts")
)

// TestPicture draws the first rows of the dashboard after three things went wrong: a backend reset connections,
// one client sent too much, and a page became so slow that clients left.
func TestPicture(t *testing.T) {
	if !*picture {
		t.Skip("draws the README's picture: go -C e2e test ./dashboards -run TestPicture -picture")
	}
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	written := writeDashboards(t)
	s := openShop(t)
	prom := parts.Prometheus(t, s.paces[0].Admin, s.paces[1].Admin)
	prom.LoadRules(written.rules)
	prom.Scraped()
	from := time.Now()
	s.trade(*lasts)
	prom.Scraped()
	_, png := grafana{prometheus: prom.URL, jaeger: prom.URL, dashboard: written.overview, from: from.Add(10 * time.Second), to: time.Now(), rows: 5}.draw(t)
	if err := os.WriteFile(filepath.Join(root, "docs", "picture", "dashboard.png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// shop is two paces in front of three backends, and its clients.
type shop struct {
	t       *testing.T
	paces   [2]*pacetest.Pace
	broken  atomic.Bool // whether one backend resets connections
	slow    atomic.Bool // whether a search takes long
	clients sync.WaitGroup
}

func openShop(t *testing.T) *shop {
	s := &shop{t: t}
	t.Cleanup(s.clients.Wait)
	good := func(x *pacetest.Exchange) {
		took := time.Duration((2 + rand.ExpFloat64()*5) * float64(time.Millisecond))
		switch x.Target {
		case "/missing":
			pacetest.Status(404, "no")(x)
			return
		case "/search":
			took *= 6
			if s.slow.Load() {
				took += 400 * time.Millisecond
			}
		}
		pacetest.Later(took, pacetest.Fine)(x)
	}
	fragile := func(x *pacetest.Exchange) {
		if s.broken.Load() {
			pacetest.ResetBefore(x)
			return
		}
		good(x)
	}
	cfg := pacetest.Config{
		"server":     {"trusted_proxies": []string{"127.0.0.0/8"}},
		"upstreams":  pacetest.Upstreams(pacetest.NewBackend(t, good), pacetest.NewBackend(t, fragile), pacetest.NewBackend(t, good)),
		"rate_limit": {"max_requests": 20, "window_seconds": 1},
	}.WithRoutes(
		pacetest.Table{"match": "/", "upstream": "default"},
		pacetest.Table{"match": "GET /search", "upstream": "default"},
		pacetest.Table{"match": "POST /orders", "upstream": "default"},
	)
	for i := range s.paces {
		s.paces[i] = pacetest.Start(t, cfg)
	}
	return s
}

// trade has clients send requests for that long.
func (s *shop) trade(lasts time.Duration) {
	ticks := time.NewTicker(100 * time.Millisecond)
	defer ticks.Stop()
	for began := time.Now(); time.Since(began) < lasts; <-ticks.C {
		done := float64(time.Since(began)) / float64(lasts)
		s.broken.Store(0.2 < done && done < 0.35)
		s.slow.Store(0.75 < done && done < 0.9)
		s.send(4, "GET", "/", s.anybody())
		s.send(1, "GET", "/search", s.anybody())
		s.send(rand.IntN(2), "POST", "/orders", s.anybody())
		if rand.IntN(10) == 0 {
			s.send(1, "GET", "/missing", s.anybody())
		}
		if 0.5 < done && done < 0.65 {
			s.send(6, "GET", "/", "203.0.113.7")
		}
	}
	s.clients.Wait()
}

func (s *shop) anybody() string { return fmt.Sprintf("10.0.0.%d", rand.IntN(250)) }

// send has a client send n requests at once. It leaves when the response takes too long.
func (s *shop) send(n int, method, path, client string) {
	for range n {
		s.clients.Go(func() {
			ctx, leave := context.WithTimeout(context.Background(), 430*time.Millisecond)
			defer leave()
			req := s.paces[rand.IntN(len(s.paces))].Request(method, path, "", "X-Forwarded-For", client)
			if resp, err := http.DefaultClient.Do(req.WithContext(ctx)); err == nil {
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
