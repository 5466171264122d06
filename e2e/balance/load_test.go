package balance

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pace/e2e/pacetest"
)

// load is clients that send requests: at a rate, whether or not the earlier ones have their responses, or each of them
// one after the other.
type load struct {
	t      *testing.T
	p      *pacetest.Pace
	client *http.Client
	posts  int // each so manieth request is a POST, which must not be repeated; 0: none

	stop     chan struct{}
	sender   sync.WaitGroup
	requests sync.WaitGroup

	mu      sync.Mutex
	results []result // guarded by mu
}

// result is what a client saw of a request.
type result struct {
	method, path string
	began        time.Time
	took         time.Duration
	status       int    // 0: no response
	backend      string // X-Backend
	outcome      string // of a response that pace sends itself
	err          error
}

func (r result) String() string {
	return fmt.Sprintf("%s %s: status %d, outcome %q, %v, after %v", r.method, r.path, r.status, r.outcome, r.err, r.took.Round(time.Millisecond))
}

func (r result) failed() bool { return r.err != nil || r.status != 200 }

func newLoad(t *testing.T, p *pacetest.Pace) *load {
	l := &load{
		t:      t,
		p:      p,
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2_000}, Timeout: pacetest.Patience},
		stop:   make(chan struct{}),
	}
	t.Cleanup(l.client.CloseIdleConnections)
	return l
}

// startLoad begins to send requests for /NUMBER to p at a rate.
func startLoad(t *testing.T, p *pacetest.Pace, rate, posts int) *load {
	l := newLoad(t, p)
	l.posts = posts
	l.sender.Go(func() { l.send(rate) })
	return l
}

// startClients lets so many clients send requests to p, each as soon as it has the response to its last one.
func startClients(t *testing.T, p *pacetest.Pace, clients int) *load {
	l := newLoad(t, p)
	for client := range clients {
		l.sender.Go(func() {
			for n := client; ; n += clients {
				select {
				case <-l.stop:
					return
				default:
					l.ask(n)
				}
			}
		})
	}
	return l
}

// send sends what is due every millisecond. A sender that was late sends more at once, so the rate is kept.
func (l *load) send(rate int) {
	began := time.Now()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; {
		for due := int(time.Since(began).Seconds() * float64(rate)); n < due; n++ {
			l.requests.Go(func() { l.ask(n) })
		}
		select {
		case <-l.stop:
			return
		case <-tick.C:
		}
	}
}

func (l *load) ask(n int) {
	r := result{method: "GET", path: fmt.Sprintf("/%d", n), began: time.Now()}
	var body io.Reader
	if l.posts > 0 && n%l.posts == 0 {
		r.method, body = "POST", strings.NewReader("order")
	}
	req, err := http.NewRequestWithContext(l.t.Context(), r.method, "http://"+l.p.Proxy+r.path, body)
	if err != nil {
		l.t.Error(err)
		return
	}
	resp, err := l.client.Do(req)
	if r.err = err; err == nil {
		_, r.err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		r.status, r.backend = resp.StatusCode, resp.Header.Get("X-Backend")
		_, details, _ := strings.Cut(resp.Header.Get("Proxy-Status"), "details=")
		r.outcome = strings.Trim(details, `"`)
	}
	r.took = time.Since(r.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.results = append(l.results, r)
}

// end stops the clients, waits for all responses, and returns what they saw.
func (l *load) end() []result {
	close(l.stop)
	l.sender.Wait()
	l.requests.Wait()
	return l.results
}

// between returns the results of the requests that began in this time.
func between(all []result, from, to time.Time) (some []result) {
	for _, r := range all {
		if r.began.After(from) && r.began.Before(to) {
			some = append(some, r)
		}
	}
	return some
}

// percentile returns the time that this share of the requests took at most.
func percentile(all []result, share float64) time.Duration {
	took := make([]time.Duration, len(all))
	for i, r := range all {
		took[i] = r.took
	}
	slices.Sort(took)
	return took[int(float64(len(took)-1)*share)]
}

// failures returns the results of requests that failed.
func failures(all []result) (some []result) {
	for _, r := range all {
		if r.failed() {
			some = append(some, r)
		}
	}
	return some
}
