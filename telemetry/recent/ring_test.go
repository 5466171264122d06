package recent

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"pace/telemetry"
)

// keeps decides that nothing is exported.
type keeps struct{ telemetry.Tracing }

func (keeps) Exports(*telemetry.Record) telemetry.Export { return telemetry.Dropped }

// world is a telemetry whose only signal is a ring.
type world struct {
	*telemetry.Telemetry
	ring *Ring
	mux  *http.ServeMux
}

func newWorld(size int) *world {
	w := &world{ring: New(size), mux: http.NewServeMux()}
	w.Telemetry = telemetry.New(telemetry.Options{Tracing: keeps{}, Signals: []telemetry.Signal{w.ring}})
	w.ring.Register(w.mux)
	return w
}

// exchange ends one of the trace n.
func (w *world) exchange(n int, o telemetry.Outcome, change func(*telemetry.Record)) {
	id := trace.TraceID{byte(n >> 16), byte(n >> 8), byte(n), 1}
	r := w.Begin(trace.ContextWithSpan(context.Background(), &telemetry.Identity{Context: trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: trace.SpanID{1}})}), "GET", "http")
	r.Path, r.Route, r.Outcome, r.Status = fmt.Sprint("/", n), &telemetry.Route{Path: "/", Name: "default"}, o, o.Info().Status
	if change != nil {
		change(r)
	}
	w.End(r)
}

// get returns the response of a call.
func (w *world) get(t *testing.T, path string) (status int, body map[string]any) {
	t.Helper()
	rec := httptest.NewRecorder()
	w.mux.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	if err := json.Unmarshal(rec.Body.Bytes(), &body); err != nil {
		t.Fatalf("%s: %v in %q", path, err, rec.Body)
	}
	return rec.Code, body
}

// paths are those of a list.
func (w *world) paths(t *testing.T, query string) (paths []string, next any) {
	t.Helper()
	status, body := w.get(t, "/api/v1/requests"+query)
	if status != 200 {
		t.Fatalf("%s: %d, %v", query, status, body)
	}
	for _, r := range body["requests"].([]any) {
		paths = append(paths, r.(map[string]any)["path"].(string))
	}
	return paths, body["next"]
}

func TestRing_HoldsTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(20)
		for i := range 100 {
			w.exchange(i, telemetry.ConnectFailed, nil)
			time.Sleep(time.Second)
			w.exchange(1000+i, telemetry.OK, nil)
			time.Sleep(time.Second)
		}
		got, next := w.paths(t, "")
		if len(got) != 20 || got[0] != "/1099" || got[1] != "/99" || got[2] != "/1098" || got[19] != "/82" || next != nil {
			t.Errorf("got %v, %v", got, next)
		}
		ordinary, _ := w.paths(t, "?outcome=ok")
		if len(ordinary) != 2 {
			t.Errorf("%d of 20 are ordinary: %v; want a tenth", len(ordinary), ordinary)
		}
	})
}

// Of many ordinary exchanges few are taken; each takes a look at a counter.
func TestRing_TakesFewOrdinaryExchanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(10_000)
		for i := range 5000 {
			w.exchange(i, telemetry.OK, nil)
			time.Sleep(time.Millisecond)
		}
		if got, _ := w.paths(t, "?limit=1000"); len(got) < 5*ordinaryPerSecond || len(got) > 6*ordinaryPerSecond {
			t.Errorf("%d ordinary exchanges were taken in 5 s, want %d a second", len(got), ordinaryPerSecond)
		}
	})
}

func TestRing_BoundsItsBytes(t *testing.T) {
	w := newWorld(1000)
	for i := range 500 {
		w.exchange(i, telemetry.ConnectFailed, func(r *telemetry.Record) { r.Path = fmt.Sprint("/", i, strings.Repeat("x", 60_000)) })
	}
	if n, bytes := w.ring.length(), w.ring.interesting.bytes; n < 60 || bytes > 1000*bytesEach {
		t.Errorf("%d exchanges of 60 kB take %d bytes, want at most %d", n, bytes, 1000*bytesEach)
	}
	small := newWorld(1)
	small.exchange(1, telemetry.ConnectFailed, func(r *telemetry.Record) { r.Path = "/" + strings.Repeat("x", 2<<20) })
	if n := small.ring.length(); n != 1 {
		t.Errorf("%d exchanges, want the last one, however large", n)
	}
}

func TestRing_OfNoSize(t *testing.T) {
	w := newWorld(0)
	w.exchange(1, telemetry.ConnectFailed, nil)
	if got, _ := w.paths(t, ""); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

func TestRing_Resize(t *testing.T) {
	w := newWorld(30)
	for i := range 30 {
		w.exchange(i, telemetry.ConnectFailed, nil)
	}
	w.ring.Resize(3)
	if got, _ := w.paths(t, ""); fmt.Sprint(got) != "[/29 /28 /27]" {
		t.Errorf("got %v, want the last three", got)
	}
	w.ring.Resize(0)
	if got, _ := w.paths(t, ""); len(got) != 0 {
		t.Errorf("got %v, want none", got)
	}
}

func TestList_Filters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1000)
		start := time.Now()
		w.exchange(1, telemetry.ConnectFailed, func(r *telemetry.Record) {
			r.BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
			r.EndAttempt()
			r.BeginAttempt("10.0.0.2:80", "10.0.0.2", 80)
			r.EndAttempt()
		})
		time.Sleep(time.Minute)
		w.exchange(2, telemetry.RateLimited, func(r *telemetry.Record) { r.Route = &telemetry.Route{Path: "/api/", Name: "api"} })
		time.Sleep(time.Minute)
		w.exchange(3, telemetry.UpstreamError, func(r *telemetry.Record) {
			r.Status, r.Query = 500, "token=secret&page=2"
			time.Sleep(2 * time.Second)
		})
		w.exchange(4, telemetry.OK, nil)
		for query, want := range map[string]string{
			"":                     "/4 /3 /2 /1",
			"outcome=rate_limited": "/2",
			"side=backend":         "/3 /1",
			"side=none":            "/4",
			"route=api":            "/2",
			"backend=10.0.0.1:80":  "/1",
			"backend=10.0.0.2:80":  "/1",
			"backend=10.0.0.3:80":  "",
			"status=500":           "/3",
			"min_ms=1999.5":        "/3",
			"min_ms=2001":          "",
			"since=1m":             "/4 /3",
			"since=61.9s":          "/4 /3",
			"since=62s":            "/4 /3 /2",
			"since=" + url.QueryEscape(start.Add(time.Second).Format(time.RFC3339)): "/4 /3 /2",
			"trace=00000201" + strings.Repeat("0", 24):                              "/2",
			"trace=00000201" + strings.Repeat("0", 24) + "&outcome=":                "/2",
			"trace=00000901" + strings.Repeat("0", 24):                              "",
			"side=backend&status=502":                                               "/1",
		} {
			if got, _ := w.paths(t, "?"+query); strings.Join(got, " ") != want {
				t.Errorf("%s: got %v, want %s", query, got, want)
			}
		}
		if _, body := w.get(t, "/api/v1/requests?status=500"); strings.Contains(fmt.Sprint(body), "secret") {
			t.Errorf("a value of the query is there: %v", body)
		}
		id := fmt.Sprintf("000002%02d%s", 1, strings.Repeat("0", 24))
		if status, body := w.get(t, "/api/v1/requests/"+id); status != 200 || body["path"] != "/2" || body["reason"] != "rejected" || body["trace"] != "dropped" {
			t.Errorf("%s: got %d, %v", id, status, body)
		}
	})
}

func TestList_RefusesWhatMakesNoSense(t *testing.T) {
	w := newWorld(10)
	for _, path := range []string{
		"requests?outcome=fine", "requests?side=left", "requests?status=ok", "requests?status=5", "requests?min_ms=-1", "requests?min_ms=NaN", "requests?trace=1",
		"requests?since=yesterday", "requests?since=-1m", "requests?limit=0", "requests?limit=1001", "requests?limit=x", "requests?after=1", "requests?after=1-1x",
		"requests?outcom=ok", "requests?status=500&status=502", "requests/abc", "requests/" + strings.Repeat("0", 32), "tail?limit=1", "tail?outcome=fine",
		"requests?status=502;side=pace", "requests?side=%zz",
	} {
		if status, body := w.get(t, "/api/v1/"+path); status != 400 || body["error"] == "" {
			t.Errorf("%s: got %d, %v, want 400 and why", path, status, body)
		}
	}
	if status, body := w.get(t, "/api/v1/requests/"+strings.Repeat("1", 32)); status != 404 || body["error"] == "" {
		t.Errorf("an unknown trace: got %d, %v", status, body)
	}
}

// However large a page is, all pages together are the whole list, and what comes meanwhile is on none of them.
func TestList_Pages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(1000)
		for i := range 25 {
			w.exchange(i, telemetry.ConnectFailed, nil) // all at one instant
		}
		whole, _ := w.paths(t, "")
		for _, limit := range []int{1, 7, 24, 25, 26} {
			var got []string
			query := fmt.Sprint("?limit=", limit)
			for {
				page, next := w.paths(t, query)
				if got = append(got, page...); next == nil {
					break
				}
				query = fmt.Sprintf("?limit=%d&after=%s", limit, next)
				time.Sleep(time.Second)
				w.exchange(100, telemetry.UpstreamReset, nil)
			}
			got = got[max(0, len(got)-25):]
			if fmt.Sprint(got) != fmt.Sprint(whole) {
				t.Errorf("by pages of %d: got %v, want %v", limit, got, whole)
			}
			w.ring.interesting.entries = w.ring.interesting.entries[:25]
		}
	})
}

// Who follows gets what is asked for, without ordinary exchanges; who does not read loses it, and delays nobody.
func TestTail(t *testing.T) {
	w := newWorld(10)
	server := httptest.NewServer(w.mux)
	defer server.Close()
	resp, err := http.Get(server.URL + "/api/v1/tail?side=backend")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("got %v", resp.Header)
	}
	w.exchange(1, telemetry.OK, nil)
	w.exchange(2, telemetry.RateLimited, nil)
	w.exchange(3, telemetry.ConnectFailed, nil)
	event := make([]byte, 1<<16)
	n, err := resp.Body.Read(event)
	if got := string(event[:n]); err != nil || !strings.HasPrefix(got, `data: {"trace_id":`) || !strings.Contains(got, `"path":"/3"`) || !strings.HasSuffix(got, "\n\n") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestTail_LosesRatherThanDelays(t *testing.T) {
	w := newWorld(10)
	tail, err := w.ring.Follow(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range tailLength + 10 {
		w.exchange(i, telemetry.ConnectFailed, nil)
	}
	if n := tail.lost.Load(); n != 10 || len(tail.records) != tailLength {
		t.Errorf("%d are lost and %d wait, want 10 and %d", n, len(tail.records), tailLength)
	}
	w.ring.Unfollow(tail)
	w.exchange(1, telemetry.ConnectFailed, nil)
	if len(tail.records) != 0 {
		t.Error("a reader that has gone holds records")
	}
	for range maxTails {
		if _, err := w.ring.Follow(Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.ring.Follow(Filter{}); err != ErrTooManyTails {
		t.Errorf("got %v, want no more than %d readers", err, maxTails)
	}
}

func TestRing_ConcurrentSafe(t *testing.T) {
	w := newWorld(50)
	var group sync.WaitGroup
	for i := range 4 {
		group.Go(func() {
			for j := range 300 {
				w.exchange(i*1000+j, []telemetry.Outcome{telemetry.OK, telemetry.ConnectFailed}[j%2], nil)
			}
		})
		group.Go(func() {
			tail, err := w.ring.Follow(Filter{})
			if err != nil {
				t.Error(err)
				return
			}
			for range 50 {
				w.paths(t, "?limit=10")
			}
			w.ring.Unfollow(tail)
		})
	}
	group.Wait()
	if n := w.ring.length(); n > 50 {
		t.Errorf("%d exchanges in a ring of 50", n)
	}
}

func FuzzParseFilter(f *testing.F) {
	f.Add("outcome=ok&since=1m&min_ms=1e3")
	f.Add("trace=00000000000000000000000000000001&status=200&after=1-1")
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		now := time.Now()
		filter, err := parseFilter(q, now, pageNames...)
		if err == nil && (filter.longer < 0 || filter.since.After(now) && q.Get("since") == "") {
			t.Fatalf("%q became %+v", query, filter)
		}
		if _, after, err := parsePage(q); err == nil && after != nil {
			if text, _ := after.MarshalText(); string(text) != q.Get("after") {
				t.Fatalf("%q became %q", q.Get("after"), text)
			}
		}
	})
}

func BenchmarkPublish(b *testing.B) {
	for name, reason := range map[string]telemetry.KeepReason{"ordinary": telemetry.Ordinary, "interesting": telemetry.KeepError} {
		b.Run(name, func(b *testing.B) {
			ring, r := New(1000), &telemetry.Record{Reason: reason, End: time.Now()}
			b.ReportAllocs()
			r.Retain()
			for b.Loop() {
				ring.Publish(telemetry.Ended, r)
			}
		})
	}
}
