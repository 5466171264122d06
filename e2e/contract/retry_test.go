package contract

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// retrying is a configuration of two or more backends with a table [upstreams.retry]. None of them is ejected: each test
// wants its bad backend to be asked.
func retrying(retry pacetest.Table, backends ...interface{ Address() string }) pacetest.Config {
	cfg := upstreams(backends...)
	cfg["upstreams.retry"], cfg["upstreams.ejection"] = retry, pacetest.Table{"enabled": false}
	return cfg
}

// badBackends are backends that fail in each way that retry.on has a word for.
var badBackends = map[string]func(t *testing.T) address{
	"connect_failed":   func(t *testing.T) address { return pacetest.NewClosed(t) },
	"connect_timeout":  func(t *testing.T) address { return pacetest.NewBlackhole(t) },
	"tls_failed":       func(t *testing.T) address { return byTLS{pacetest.NewBackend(t, pacetest.Fine)} },
	"dns_failed":       func(t *testing.T) address { return noSuchName },
	"upstream_timeout": func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Hang) },
	"upstream_reset":   func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.ResetBefore) },
	"upstream_invalid": func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Garbage) },
	"429":              func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Status(429, "slow down")) },
	"502":              func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Status(502, "no gateway")) },
	"503":              func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Status(503, "busy")) },
	"504":              func(t *testing.T) address { return pacetest.NewBackend(t, pacetest.Status(504, "late")) },
}

// pools is a configuration of many upstreams, each with a route: /NAME/ goes to the upstream NAME. They eject nobody.
type pools struct {
	cfg    pacetest.Config
	routes []pacetest.Table
}

func (p *pools) add(name string, upstream, retry pacetest.Table) {
	if p.cfg == nil {
		p.cfg = pacetest.Config{}
	}
	p.cfg["upstream."+name], p.cfg["upstream."+name+".ejection"] = upstream, pacetest.Table{"enabled": false}
	if retry != nil {
		p.cfg["upstream."+name+".retry"] = retry
	}
	p.routes = append(p.routes, pacetest.Table{"match": "/" + name + "/", "upstream": name})
}

func (p *pools) start(t *testing.T) *pacetest.Pace {
	return pacetest.Start(t, p.cfg.WithRoutes(p.routes...))
}

// TestRetryOn asks a backend that fails in each way and one that is fine, with that word in retry.on, with all others,
// and without the key: a request is tried again if the word is there, and only then. What happens before there is a
// connection is connect_failed as well.
func TestRetryOn(t *testing.T) {
	t.Parallel()
	byDefault := []string{"connect_failed", "connect_timeout", "upstream_reset", "tls_failed", "dns_failed"}
	fine := pacetest.NewBackend(t, pacetest.Fine)
	var all pools
	type kase struct {
		word, name string
		again      bool
		failed     int // of 4 requests
	}
	var cases []*kase
	for word, bad := range badBackends {
		others := []string{}
		for other := range badBackends {
			if other != word && !(strings.Contains("tls_failed dns_failed", word) && other == "connect_failed") {
				others = append(others, other)
			}
		}
		upstream := pacetest.Upstreams(bad(t), fine).With("connect_timeout", "30s")
		switch word { // by a time that the fine backend does not need on a busy machine
		case "connect_timeout":
			upstream = upstream.With(word, "3s")
		case "upstream_timeout":
			upstream = upstream.With("response_timeout", "3s")
		}
		add := func(kind string, upstream, retry pacetest.Table, again bool) {
			cases = append(cases, &kase{word, word + "_" + kind, again, 0})
			all.add(word+"_"+kind, upstream, retry)
		}
		add("named", upstream, pacetest.Table{"on": []string{word}}, true)
		add("not_named", upstream, pacetest.Table{"on": others}, false)
		add("default", upstream, nil, slices.Contains(byDefault, word))
		add("nothing", upstream, pacetest.Table{"on": []string{}}, false)
		add("no_failover", upstream.With("max_retries", 0), pacetest.Table{"on": []string{word}, "budget": 1.0}, false)
	}
	p := all.start(t)
	var clients sync.WaitGroup
	for _, c := range cases {
		clients.Go(func() {
			for range 4 {
				if got := p.Get("/" + c.name + "/x"); got.Status != 200 {
					c.failed++
				}
			}
		})
	}
	clients.Wait()
	m := p.Metrics() // once, because that many upstreams have thousands of series
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			failovers, attempts := m.Sum("pace_failovers_total", "pace_upstream", tt.name), m.Sum("http_client_request_duration_seconds_count", "pace_upstream", tt.name)
			if tt.again && (tt.failed > 0 || failovers != 2 || attempts != 6 || m.Sum("pace_failovers_total", "pace_upstream", tt.name, "reason", tt.word) != 2) {
				t.Errorf("%d of 4 requests failed, %v failovers, %v attempts; want none, 2 because of %s, and 6", tt.failed, failovers, attempts, tt.word)
			}
			if !tt.again && (tt.failed != 2 || failovers != 0 || attempts != 4) {
				t.Errorf("%d of 4 requests failed, %v failovers, %v attempts; want 2, none and 4", tt.failed, failovers, attempts)
			}
		})
	}
}

// TestRetryOn_NeverAPostTwice: whatever retry.on says, a POST of which a byte was sent is never sent again.
func TestRetryOn_NeverAPostTwice(t *testing.T) {
	t.Parallel()
	words := []string{"upstream_timeout", "upstream_reset", "upstream_invalid", "429", "502", "503", "504"}
	var all pools
	backends := map[string][]*pacetest.Backend{}
	for _, word := range words {
		a, b := badBackends[word](t).(*pacetest.Backend), badBackends[word](t).(*pacetest.Backend)
		backends[word] = []*pacetest.Backend{a, b}
		all.add(word, pacetest.Upstreams(a, b).With("max_retries", 5).With("response_timeout", "200ms"),
			pacetest.Table{"on": words, "budget": 1.0, "max_replay_bytes": 1000})
	}
	p := all.start(t)
	for _, word := range words {
		for i, body := range []string{"", "data", strings.Repeat("x", 5000)} {
			for _, method := range []string{"POST", "PATCH"} {
				path := fmt.Sprintf("/%s/%s/%d", word, method, i)
				if got := p.Send(method, path, body); got.Err != nil || got.Status < 400 {
					t.Errorf("%s: got %d, %v", path, got.Status, got.Err)
				}
				if n := len(backends[word][0].Got(path)) + len(backends[word][1].Got(path)); n > 1 {
					t.Errorf("%s reached the backends %d times", path, n)
				}
			}
		}
	}
	p.WantMetric(0, "pace_failovers_total")
}

// TestRetry_AStatusLeadsToAnotherBackend as a failure does: the first response reaches nobody, and is in the span of
// its attempt.
func TestRetry_AStatusLeadsToAnotherBackend(t *testing.T) {
	t.Parallel()
	bad, fine := pacetest.NewBackend(t, pacetest.With(503, "X-From: bad\r\n", "busy")), pacetest.NewBackend(t, pacetest.Fine)
	p, spans := pacetest.StartTraced(t, retrying(pacetest.Table{"on": []string{"503"}}, bad, fine))
	var got pacetest.Response
	for len(bad.Requests()) == 0 {
		got = p.Get("/x")
	}
	if wantStatus(t, got, 200); got.Body != "fine" || got.Header.Get("X-From") != "" || got.Header.Get("X-Backend") != fine.Name() {
		t.Errorf("got %q with %v", got.Body, got.Header)
	}
	trace := pacetest.WantTrace(spans, 1, pacetest.ID(got.Header.Get("X-Trace-Id")))
	if len(trace.Clients) != 2 {
		t.Fatalf("%d CLIENT spans, want 2", len(trace.Clients))
	}
	wantAttr(t, trace.Clients[0].Attrs, "http.response.status_code", 503)
	wantAttr(t, trace.Clients[0].Attrs, "error.type", "503")
	wantAttr(t, trace.Clients[1].Attrs, "http.response.status_code", 200)
	wantAttr(t, trace.Clients[1].Attrs, "pace.pick.reason", "failover")
	event := trace.Server.Named("pace.failover")[0]
	for key, want := range map[string]any{"from": bad.Address(), "to": fine.Address(), "reason": "503", "attempt": 1} {
		wantAttr(t, event.Attrs, "pace.failover."+key, want)
	}
	if line := fmt.Sprint(p.WantAccess("/x")["failovers"]); !strings.Contains(line, "reason:503") {
		t.Errorf("the line has failovers %s", line)
	}
	said, _ := explained(t, got.Header.Get("X-Trace-Id"), "--admin", p.Admin)
	if want := "answered 503 after "; !strings.Contains(said, want) || !strings.Contains(said, "pace failed over to "+fine.Address()+" because of the 503: GET is safe to repeat, although ") {
		t.Errorf("explain says %s", said)
	}
	if n := bad.Open(); n != 1 {
		t.Errorf("%d connections to the first backend are open: a small response must not cost its connection", n)
	}
}

// TestRetry_BestResponse: when all attempts are used up, the client gets a response that a backend gave, if there was
// one, whole and as it came; else pace's own for the last attempt.
func TestRetry_BestResponse(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("long ", 20_000)
	busy := func(x *pacetest.Exchange) {
		x.ReadBody()
		x.Write("HTTP/1.1 503 Busy\r\nX-From: busy\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n4\r\nbusy\r\n0\r\nX-Sum: 7\r\n\r\n")
	}
	type kase struct {
		first, second   pacetest.Behaviour // nil: refuses
		status          int
		body, outcome   string
		from            int // 1 or 2: whose response it is; 0: pace's own
		asked, failover int // requests that the second backend got, and failovers
	}
	cases := map[string]kase{}
	for name, tt := range map[string]kase{
		"a response is better than a lost connection":    {busy, pacetest.ResetBefore, 503, "busy", "upstream_error", 1, 1, 1},
		"and than a refused one":                         {busy, nil, 503, "busy", "upstream_error", 1, 0, 1},
		"of two responses the last one":                  {busy, pacetest.Status(502, "gateway"), 502, "gateway", "upstream_error", 2, 1, 1},
		"any response ends the attempts":                 {busy, pacetest.Status(404, "none"), 404, "none", "client_error", 2, 1, 1},
		"a 429 counts for the client":                    {pacetest.Status(429, "slow down"), nil, 429, "slow down", "client_error", 1, 0, 1},
		"without a response the last failure decides":    {pacetest.ResetBefore, nil, 502, "", "connect_failed", 0, 0, 1},
		"a large response is delivered at once":          {pacetest.Status(503, long), pacetest.Fine, 503, long, "upstream_error", 1, 0, 0},
		"one whose length is not announced, too":         {pacetest.Raw("HTTP/1.1 503 Busy\r\n\r\n" + long), pacetest.Fine, 503, long, "upstream_error", 1, 0, 0},
		"one that breaks in its body is as good as none": {pacetest.Raw("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nbusy"), pacetest.ResetBefore, 502, "", "upstream_reset", 0, 1, 1},
		"and so is one whose body does not come in time": {func(x *pacetest.Exchange) {
			x.Write("HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\nbusy")
			x.AwaitClose()
		}, nil, 502, "", "connect_failed", 0, 0, 1},
		"a response without a body is kept as well as another":   {pacetest.Raw("HTTP/1.1 504 Late\r\nContent-Length: 0\r\n\r\n"), nil, 504, "", "upstream_error", 1, 0, 1},
		"a response that is not called for is delivered at once": {pacetest.Status(500, "oh"), pacetest.Fine, 500, "oh", "upstream_error", 1, 0, 0},
	} {
		cases[strings.NewReplacer(" ", "_", ",", "").Replace(name)] = tt
	}
	var all pools
	first, second := map[string]*pacetest.Backend{}, map[string]address{}
	for name, tt := range cases {
		first[name], second[name] = pacetest.NewBackend(t, tt.first), pacetest.NewClosed(t)
		if tt.second != nil {
			second[name] = pacetest.NewBackend(t, tt.second)
		}
		all.add(name, pacetest.Upstreams(first[name], second[name]), pacetest.Table{"on": []string{"429", "502", "503", "504", "upstream_reset"}})
	}
	p := all.start(t)
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			first, second, path := first[name], second[name], "/"+name+"/x"
			got := p.Get(path)
			if len(first.Got(path)) != 1 {
				t.Fatalf("the first backend was asked %d times, want once", len(first.Got(path)))
			}
			if got.Err != nil || got.Status != tt.status || tt.from > 0 && got.Body != tt.body {
				t.Fatalf("got %d, %.40q (%d bytes), %v; want %d, %.40q", got.Status, got.Body, len(got.Body), got.Err, tt.status, tt.body)
			}
			line := p.WantAccess(path)
			if line.Text("outcome") != tt.outcome || line.Int("attempts") != 1+tt.failover {
				t.Errorf("the line has outcome %s and %s attempts, want %s and %d", line.Text("outcome"), line.Text("attempts"), tt.outcome, 1+tt.failover)
			}
			want := map[int]string{1: first.Name()}
			if b, ok := second.(*pacetest.Backend); ok {
				want[2] = b.Name()
				if n := len(b.Got(path)); n != tt.asked {
					t.Errorf("the second backend was asked %d times, want %d", n, tt.asked)
				}
			}
			if got.Header.Get("X-Backend") != want[tt.from] || (tt.from == 0) != (got.Header.Get("Proxy-Status") != "") {
				t.Errorf("X-Backend %q, Proxy-Status %q", got.Header.Get("X-Backend"), got.Header.Get("Proxy-Status"))
			}
			if got.Body == "busy" && (got.Header.Get("X-From") != "busy" || !slices.Equal(got.Header["Set-Cookie"], []string{"a=1", "b=2"}) || got.Trailer.Get("X-Sum") != "7") {
				t.Errorf("header %v, trailer %v", got.Header, got.Trailer)
			}
			if tt.from == 1 && tt.failover == 1 {
				said, _ := explained(t, got.Header.Get("X-Trace-Id"), "--admin", p.Admin)
				if !strings.Contains(said, "The client got the response of attempt 1, because no later one had any.") {
					t.Errorf("explain says %s", said)
				}
			}
		})
	}
}

// TestRetry_KeptBodies: a body up to max_replay_bytes reaches the next backend to the byte, by each framing and over
// each protocol; a larger one is sent once.
func TestRetry_KeptBodies(t *testing.T) {
	t.Parallel()
	pacetest.Run(t, func(t *testing.T, mode pacetest.Mode) {
		const limit = 20_000
		half := func(x *pacetest.Exchange) {
			x.ReadBodyN(3)
			if size, _ := strconv.Atoi(strings.Split(x.Target, "/")[2]); size > limit {
				x.ReadBodyN(limit - 2) // until pace cannot have kept all that came
			}
			x.Reset()
		}
		whole := func(x *pacetest.Exchange) { x.ReadBody(); x.Reset() }
		unavailable := pacetest.Status(503, "busy")
		bad := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
			kind, _, _ := strings.Cut(x.Target[1:], "/")
			map[string]pacetest.Behaviour{"half": half, "whole": whole, "status": unavailable}[kind](x)
		})
		fine := pacetest.NewBackend(t, pacetest.Fine)
		p := pacetest.Start(t, retrying(pacetest.Table{"on": []string{"upstream_reset", "503"}, "budget": 1.0, "max_replay_bytes": limit}, bad, fine))
		c := mode.Client(t)
		for _, kind := range []string{"half", "whole", "status"} {
			for _, size := range []int{1, 100, 4096, limit - 1, limit, limit + 1, 100_000} {
				for _, chunked := range []bool{false, true} {
					sent := make([]byte, size)
					rand.Read(sent)
					path := fmt.Sprintf("/%s/%d/%t", kind, size, chunked)
					for range 2 { // one of the two is the bad backend's turn
						req := p.Request("PUT", path, string(sent))
						if chunked {
							req.Body, req.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(sent))), -1
						}
						got := pacetest.Do(c, req)
						if size <= limit && (got.Err != nil || got.Status != 200) {
							t.Errorf("%s: got %d, %v", path, got.Status, got.Err)
						}
					}
					want := 2
					if size > limit {
						want = 1
					}
					reached := fine.Got(path)
					if len(reached) != want || len(bad.Got(path)) != 1 {
						t.Errorf("%s: reached the fine backend %d times and the bad one %d, want %d and 1", path, len(reached), len(bad.Got(path)), want)
					}
					for _, r := range reached {
						if !bytes.Equal(r.Body, sent) || r.BodyErr != nil {
							t.Errorf("%s: the backend got %d bytes, %v; want the %d that were sent", path, len(r.Body), r.BodyErr, size)
						}
					}
				}
			}
		}
		var in float64
		for _, line := range p.Lines("request") {
			in += float64(line.Int("bytes_in"))
		}
		if size := float64(3 * 2 * 2 * (1 + 100 + 4096 + limit - 1 + limit)); in < size {
			t.Errorf("the lines have %v bytes_in in all, want at least the %v of the kept bodies, once each", in, size)
		}
	})
}

// TestRetry_AClientThatStillSends: a body of which only the beginning had come goes to the next backend as well.
func TestRetry_AClientThatStillSends(t *testing.T) {
	t.Parallel()
	begun := make(chan struct{}, 10)
	bad := pacetest.NewBackend(t, func(x *pacetest.Exchange) { x.ReadBodyN(4); begun <- struct{}{}; x.Reset() })
	fine := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, retrying(pacetest.Table{"max_replay_bytes": 100}, bad, fine))
	for i := range 2 {
		path := fmt.Sprintf("/%d", i)
		w := p.Wire()
		w.Send("PUT " + path + " HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhell")
		select {
		case <-begun:
		case <-time.After(100 * time.Millisecond): // the other backend's turn; it waits for the rest
		}
		w.Send("o, all")
		if got := w.Response("PUT"); got.Status != 200 {
			t.Errorf("got %d %q", got.Status, got.Body)
		}
		if got := fine.WantGot(1, path)[0]; string(got.Body) != "hello, all" {
			t.Errorf("the backend got %q", got.Body)
		}
	}
	if len(bad.Requests()) != 1 {
		t.Errorf("the bad backend got %d requests, want 1", len(bad.Requests()))
	}
}

// TestRetryBudget_Spent: a request over the budget fails at once, with its event and its count, and what it had.
func TestRetryBudget_Spent(t *testing.T) {
	t.Parallel()
	a, b := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.ResetBefore)
	p, spans := pacetest.StartTraced(t, retrying(pacetest.Table{"budget": 0}, a, b))
	p.WantMetric(0, "pace_retry_budget_exhausted_total", "pace_upstream", "default")
	for i := range 40 {
		wantStatus(t, p.Get("/"+strconv.Itoa(i)), 502)
	}
	p.WantMetric(30, "pace_failovers_total")
	p.WantMetric(10, "pace_retry_budget_exhausted_total", "pace_upstream", "default")
	for i, attempts := range map[int]int{0: 2, 29: 2, 30: 1, 39: 1} {
		path := "/" + strconv.Itoa(i)
		trace := pacetest.WantTrace(spans, 1, pacetest.Path(path))
		events := trace.Server.Named("pace.budget_exhausted")
		if len(trace.Clients) != attempts || len(events) != 2-attempts {
			t.Errorf("request %d has %d CLIENT spans and %d events, want %d and %d", i, len(trace.Clients), len(events), attempts, 2-attempts)
		}
		for _, e := range events {
			wantAttr(t, e.Attrs, "pace.upstream", "default")
			wantAttr(t, e.Attrs, "pace.budget.reason", "upstream_reset")
			wantAttr(t, e.Attrs, "pace.budget.attempt", 1)
			said, _ := explained(t, trace.Server.TraceID, "--admin", p.Admin)
			if !strings.Contains(said, "pace asked no other backend: the budget of the upstream for further attempts was used up (retry.budget).") {
				t.Errorf("explain says %s", said)
			}
		}
	}
	if n := pacetest.Count(spans, otlp.Client); n != 70 {
		t.Errorf("%d CLIENT spans, want 40 picks and 30 failovers", n)
	}
}

// TestRetryBudget_InAStorm: all backends fail for longer than the window of the budget. In any 10 s, by the backends'
// own account, the further attempts are at most a fifth of the requests and 30.
func TestRetryBudget_InAStorm(t *testing.T) {
	t.Parallel()
	type arrival struct {
		at    time.Time
		again bool // not the first attempt of its request
	}
	var mu sync.Mutex
	var arrivals []arrival
	seen := map[string]bool{}
	fails := func(act pacetest.Behaviour) pacetest.Behaviour {
		return func(x *pacetest.Exchange) {
			mu.Lock()
			arrivals = append(arrivals, arrival{time.Now(), seen[x.Target]})
			seen[x.Target] = true
			mu.Unlock()
			act(x)
		}
	}
	a := pacetest.NewBackend(t, fails(pacetest.Status(503, "busy")))
	b := pacetest.NewBackend(t, fails(pacetest.Status(503, "busy")))
	c := pacetest.NewBackend(t, fails(pacetest.ResetBefore))
	cfg := set(retrying(pacetest.Table{"on": []string{"503", "upstream_reset"}, "budget": 0.2}, a, b, c), "upstreams", "max_retries", 2)
	p := pacetest.Start(t, cfg)
	const clients, window = 4, 10 * time.Second
	var running sync.WaitGroup
	end := time.Now().Add(window + 2*time.Second)
	for i := range clients {
		running.Go(func() {
			c := pacetest.H1.Client(t)
			for n := 0; time.Now().Before(end); n++ {
				if got := pacetest.Do(c, p.Request("GET", fmt.Sprintf("/%d/%d", i, n), "")); got.Status != 503 && got.Status != 502 {
					t.Errorf("got %d, %v", got.Status, got.Err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	running.Wait()
	requests, again, windows := 0, 0, 0
	whole := arrivals[len(arrivals)-1].at.Add(-window)
	for i, first := range arrivals {
		var in, extra int
		for _, other := range arrivals[i:] {
			if other.at.Sub(first.at) >= window {
				break
			}
			if other.again {
				extra++
			} else {
				in++
			}
		}
		if first.at.Before(whole) {
			windows++
		} else {
			in = len(arrivals) // nobody has seen all of this window
		}
		if float64(extra) > 0.2*float64(in)+30+clients { // a client's request may be in the window with its second attempt only
			t.Fatalf("in 10 s from arrival %d, the backends got %d requests, and %d further attempts", i, in, extra)
		}
		if first.again {
			again++
		} else {
			requests++
		}
	}
	if windows == 0 {
		t.Errorf("the storm did not last for %v", window)
	}
	if float64(again) < 0.15*float64(requests) {
		t.Errorf("of %d requests, %d further attempts were made: the budget allows more", requests, again)
	}
	m := p.Metrics()
	if n := m.Sum("pace_failovers_total"); n != float64(again) || m.Sum("pace_retries_total") != 0 {
		t.Errorf("%v failovers are counted, the backends saw %d further attempts", n, again)
	}
	if m.Sum("pace_retry_budget_exhausted_total") < float64(requests)/2 {
		t.Errorf("the budget ended %v of %d requests", m.Sum("pace_retry_budget_exhausted_total"), requests)
	}
	t.Logf("%d requests, %d further attempts, %v over the budget", requests, again, m.Sum("pace_retry_budget_exhausted_total"))
}

// TestRetryAfter: a backend that asks for a pause is asked nothing meanwhile, and others are at once.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	for _, status := range []int{503, 429} {
		for name, after := range map[string]string{"in seconds": "2", "by a date": "date"} {
			t.Run(fmt.Sprint(status, " ", name), func(t *testing.T) {
				t.Parallel()
				var paused, resumed time.Time
				var mu sync.Mutex
				busy := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
					mu.Lock()
					defer mu.Unlock()
					if !paused.IsZero() {
						if resumed.IsZero() {
							resumed = time.Now()
						}
						pacetest.Fine(x)
						return
					}
					paused = time.Now()
					value := after
					if value == "date" {
						value = time.Now().Add(3 * time.Second).UTC().Format(http.TimeFormat) // which has whole seconds
					}
					pacetest.With(status, "Retry-After: "+value+"\r\n", "busy")(x)
				})
				fine := pacetest.NewBackend(t, pacetest.Fine)
				p := pacetest.Start(t, retrying(pacetest.Table{"on": []string{"503", "429"}}, busy, fine))
				pacetest.Eventually(t, func() error {
					if got := p.Get("/x"); got.Status != 200 {
						t.Errorf("got %d: the other backend is not asked", got.Status)
					}
					mu.Lock()
					defer mu.Unlock()
					if resumed.IsZero() {
						return fmt.Errorf("the backend is never asked again")
					}
					return nil
				})
				if d := resumed.Sub(paused); d < 1900*time.Millisecond {
					t.Errorf("the backend was asked again after %v, want its 2 s", d)
				}
				if lines := p.Lines("backend paused, as its Retry-After asks"); len(lines) != 1 || lines[0].Text("backend") != busy.Address() || lines[0].Int("status") != status {
					t.Errorf("the log has %v", lines)
				}
			})
		}
	}
}

// TestRetryAfter_OfAllBackends: a pause makes no request fail; and of a status that is not in retry.on, nobody has one.
func TestRetryAfter_OfAllBackends(t *testing.T) {
	t.Parallel()
	busy := pacetest.With(503, "Retry-After: 60\r\n", "busy")
	for name, tt := range map[string]struct {
		on   []string
		want []int
	}{"all have asked for it": {[]string{"503"}, []int{6, 6}}, "503 is not in retry.on": {[]string{"502"}, []int{3, 3}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := pacetest.NewBackend(t, busy), pacetest.NewBackend(t, busy)
			p := pacetest.Start(t, retrying(pacetest.Table{"on": tt.on}, a, b))
			for range 6 {
				if got := p.Get("/x"); got.Status != 503 || got.Body != "busy" {
					t.Errorf("got %d %q", got.Status, got.Body)
				}
			}
			if got := []int{len(a.Requests()), len(b.Requests())}; tt.want[0]+tt.want[1] != got[0]+got[1] {
				t.Errorf("the backends got %v requests, want %v", got, tt.want)
			}
		})
	}
}

// TestRetryBackoff_IsInThePhases: the pause is in the phase pick, and the phases add up.
func TestRetryBackoff_IsInThePhases(t *testing.T) {
	t.Parallel()
	bad, fine := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, retrying(pacetest.Table{"backoff": "200ms", "budget": 1.0}, bad, fine))
	var paused float64
	for i := range 10 {
		path := "/" + strconv.Itoa(i)
		wantStatus(t, p.Get(path), 200)
		line := p.WantAccess(path)
		number := func(field string) float64 { n, _ := line[field].(float64); return n }
		sum := 0.0
		for _, phase := range words("own read_request limit pick dns connect tls send wait receive deliver") {
			sum += number(phase + "_ms")
		}
		if took := number("duration_ms"); sum < took-0.1 || sum > took+0.1 {
			t.Errorf("the phases add up to %v ms of %v", sum, took)
		}
		if line.Int("attempts") == 2 {
			paused += number("pick_ms")
		}
	}
	if paused < 50 || paused > 1200 {
		t.Errorf("five pauses of up to 200 ms took %v ms in all", paused)
	}
}

// TestRetryBackoff_EndsWithTheExchange: who leaves in a pause, a route's timeout and the end of draining all end it.
func TestRetryBackoff_EndsWithTheExchange(t *testing.T) {
	t.Parallel()
	start := func(t *testing.T, change func(pacetest.Config)) (*pacetest.Pace, *pacetest.Backend, *pacetest.Backend) {
		a, b := pacetest.NewBackend(t, pacetest.ResetBefore), pacetest.NewBackend(t, pacetest.ResetBefore)
		cfg := retrying(pacetest.Table{"backoff": "1m"}, a, b)
		change(cfg)
		return pacetest.Start(t, cfg), a, b
	}
	// begin sends requests until one waits in its pause, which may be short by chance.
	begin := func(t *testing.T, p *pacetest.Pace, a, b *pacetest.Backend, ctx context.Context) (path string) {
		for i := range 20 {
			path = "/" + strconv.Itoa(i)
			go pacetest.Do(pacetest.H1.Client(t), p.Request("GET", path, "").WithContext(ctx))
			waits := false
			pacetest.Eventually(t, func() error {
				list := inFlight(t, p)
				waits = len(list) == 1 && list[0]["path"] == path && list[0]["phase"] == "pick" && len(a.Got(path))+len(b.Got(path)) == 1
				if !waits && len(p.Access(path)) == 0 {
					return fmt.Errorf("in flight: %v", list)
				}
				return nil
			})
			if waits {
				return path
			}
		}
		t.Fatal("no request ever waited")
		return ""
	}
	t.Run("the client leaves", func(t *testing.T) {
		t.Parallel()
		p, a, b := start(t, func(pacetest.Config) {})
		ctx, leave := context.WithCancel(t.Context())
		path := begin(t, p, a, b, ctx)
		leave()
		line := p.WantAccess(path)
		if line.Text("outcome") != "client_gone" || line.Text("left_in") != "pick" || line.Int("attempts") != 1 {
			t.Errorf("got %v", line)
		}
		if failovers := fmt.Sprint(line["failovers"]); failovers != "<nil>" {
			t.Errorf("a failover that was not made is noted: %s", failovers)
		}
	})
	t.Run("the route's timeout is up", func(t *testing.T) {
		t.Parallel()
		p, a, b := start(t, func(cfg pacetest.Config) {
			cfg["route[0]"] = pacetest.Table{"match": "/", "upstream": "default", "timeout": "1s"}
		})
		line := p.WantAccess(begin(t, p, a, b, t.Context()))
		if line.Text("outcome") != "route_timeout" || line.Int("status") != 504 || line.Int("attempts") != 1 {
			t.Errorf("got %v", line)
		}
	})
	t.Run("draining takes too long", func(t *testing.T) {
		t.Parallel()
		p, a, b := start(t, func(cfg pacetest.Config) { set(cfg, "server", "drain_timeout", "300ms") })
		path := begin(t, p, a, b, t.Context())
		p.Signal(syscall.SIGTERM)
		if code := p.Wait(); code != 1 {
			t.Errorf("exit %d", code)
		}
		if line := p.WantAccess(path); line.Text("outcome") != "drain_timeout" || line.Int("attempts") != 1 {
			t.Errorf("got %v", line)
		}
	})
}
