package balance

import (
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// stateOf returns the state of a backend, as the API has it.
func stateOf(t *testing.T, p *pacetest.Pace, address string) string {
	t.Helper()
	resp, err := http.Get("http://" + p.Admin + "/api/v1/upstreams")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct {
		Upstreams []struct {
			Backends []struct{ Address, State string }
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	for _, u := range all.Upstreams {
		for _, b := range u.Backends {
			if b.Address == address {
				return b.State
			}
		}
	}
	return "not there"
}

// account is what pace counted, over and over.
type account struct {
	t    *testing.T
	stop chan struct{}
	done sync.WaitGroup
	list []counted
}

// counted is how many extra attempts pace had counted at a time.
type counted struct {
	at    time.Time
	extra float64
}

// keepAccount reads the metrics twice a second. Begin it with the load.
func keepAccount(t *testing.T, p *pacetest.Pace) *account {
	a := &account{t: t, stop: make(chan struct{})}
	a.done.Go(func() {
		for {
			if m, err := scrape(p); err != nil {
				t.Error(err)
			} else {
				a.list = append(a.list, counted{time.Now(), extra(m)})
			}
			select {
			case <-a.stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	return a
}

// scrape is pacetest's Metrics for another goroutine than the test's.
func scrape(p *pacetest.Pace) (pacetest.Metrics, error) {
	resp, err := http.Get("http://" + p.Admin + "/metrics")
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return pacetest.ParseMetrics(string(text))
}

// end stops the account.
func (a *account) end() {
	close(a.stop)
	a.done.Wait()
}

// wantWithinBudget wants the extra attempts of any ten seconds to be within the budget of the requests that began in
// that time. An attempt is counted when its request has ended, so that may have begun a little earlier.
func (a *account) wantWithinBudget(all []result) {
	a.t.Helper()
	first := 0
	for _, to := range a.list {
		for to.at.Sub(a.list[first].at) > 10*time.Second {
			first++
		}
		from := a.list[first]
		requests := float64(len(between(all, from.at.Add(-perRequest), to.at)))
		if more := to.extra - from.extra; more > budget*requests+30 {
			a.t.Errorf("in %v there were %v extra attempts for %v requests", to.at.Sub(from.at), more, requests)
			return
		}
	}
}
