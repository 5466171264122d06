package observability

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// bucketWidth is the upper bound of a bucket of a native histogram, divided by its lower one.
var bucketWidth = math.Exp2(1.0 / 8)

// TestNativeHistograms compares the quantiles and counts that a Prometheus has of native histograms with how long
// the backend took and how long the client waited. No histogram has classic buckets.
func TestNativeHistograms(t *testing.T) {
	const n = 100
	backend := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		delay, _ := strconv.Atoi(strings.TrimPrefix(x.Target, "/"))
		pacetest.Later(time.Duration(delay)*time.Microsecond, pacetest.Fine)(x)
	})
	spans := otlp.Receiver(t)
	p := pacetest.Start(t, pacetest.Config{
		"upstreams": pacetest.Upstreams(backend), "metrics": {"native_histograms": true},
		"tracing": {"endpoint": "http://" + spans.GRPC},
	}, "OTEL_BSP_SCHEDULE_DELAY=20")
	prometheus := parts.NativePrometheus(t, p.Admin)

	prometheus.Scraped() // before the requests, so that rates see them

	began := time.Now()
	shortest, longest := take(t, p, n)
	server, client := "http_server_request_duration_seconds", "http_client_request_duration_seconds"
	ofGets := fmt.Sprintf(`{http_request_method="GET",instance=%q}`, p.Admin)
	prometheus.Wait(fmt.Sprintf("sum(histogram_count(%s%s))", server, ofGets), func(s []parts.Sample) bool {
		return len(s) == 1 && s[0].Value >= n
	})
	prometheus.Scraped()
	for _, series := range []string{server + ofGets, client + ofGets, fmt.Sprintf(`http_requests_duration_seconds{method="GET",instance=%q}`, p.Admin)} {
		if got := prometheus.Sum("histogram_count(" + series + ")"); got != n {
			t.Errorf("%s: %v requests, want %d", series, got, n)
		}
		for _, q := range []float64{0.1, 0.5, 0.9, 0.99, 1} {
			at := max(int(math.Ceil(q*n))-1, 0)
			got := prometheus.Sum(fmt.Sprintf("histogram_quantile(%v, sum(%s))", q, series))
			if lowest, highest := shortest[at]/bucketWidth, longest[at]*bucketWidth; got < lowest || got > highest {
				t.Errorf("%s: the quantile %v is %.6f s, want %.6f to %.6f", series, q, got, lowest, highest)
			}
		}
		if got := prometheus.Sum("histogram_sum(" + series + ")"); got < sum(shortest) || got > sum(longest) {
			t.Errorf("%s: the sum is %.4f s, want %.4f to %.4f", series, got, sum(shortest), sum(longest))
		}
	}
	for _, series := range []string{`pace_phase_duration_seconds{phase="wait"}`, "pace_overhead_seconds"} {
		if got := prometheus.Sum("histogram_count(" + series + ")"); got != 2*n {
			t.Errorf("%s: %v requests, want %d", series, got, 2*n)
		}
	}
	// As docs/interface.md says that rates are asked for.
	for _, function := range []string{"histogram_count(", "histogram_sum(", "histogram_quantile(0.5, "} {
		if got := prometheus.Sum(function + `sum by (phase) (rate(pace_phase_duration_seconds{phase="wait"}[5m])))`); !(got > 0) {
			t.Errorf("%s: got %v of a rate", function, got)
		}
	}
	if got := prometheus.Query(`{__name__=~".+_seconds_(bucket|count|sum)",__name__!~"go_.*"}`); len(got) > 0 {
		t.Errorf("there are classic histograms: %v", got)
	}
	wantTextWithoutBuckets(t, p, server)
	wantExemplar(t, prometheus, spans, server+ofGets, began)
	wantExemplar(t, prometheus, spans, client+ofGets, began)
}

// take sends n GETs and a HEAD after each on the same connection, so that pace is done with the GET before the
// response to the HEAD. It returns, in order, how long the backend took and how long it took until pace was done:
// the duration that pace measures lies in between.
func take(t *testing.T, p *pacetest.Pace, n int) (shortest, longest []float64) {
	c, random := pacetest.H1.Client(t), rand.New(rand.NewPCG(1, 2))
	for range n {
		delay := int(1000 * math.Pow(60, random.Float64())) // µs: 1 to 60 ms, evenly on a log scale
		sent := time.Now()
		for _, req := range []struct{ method, path string }{{"GET", fmt.Sprintf("/%d", delay)}, {"HEAD", "/0"}} {
			if got := pacetest.Do(c, p.Request(req.method, req.path, "")); got.Status != 200 || got.Err != nil {
				t.Fatalf("%s %s: status %d, %v", req.method, req.path, got.Status, got.Err)
			}
		}
		shortest, longest = append(shortest, float64(delay)/1e6), append(longest, time.Since(sent).Seconds())
	}
	slices.Sort(shortest)
	slices.Sort(longest)
	return shortest, longest
}

// wantTextWithoutBuckets requires that a scrape in a text format has a histogram's count, and no bucket but the last.
func wantTextWithoutBuckets(t *testing.T, p *pacetest.Pace, histogram string) {
	t.Helper()
	for _, format := range []string{"text/plain", "application/openmetrics-text; version=1.0.0"} {
		page := p.Exposition(format)
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, histogram+"_bucket{") && !strings.Contains(line, `le="+Inf"`) {
				t.Errorf("%s has the bucket %s", format, line)
			}
		}
		if !strings.Contains(page, histogram+"_count{") {
			t.Errorf("%s has no %s_count", format, histogram)
		}
	}
}

// wantExemplar requires that the series has an exemplar, and that the collector has its span.
func wantExemplar(t *testing.T, prometheus *parts.Prom, spans *otlp.Recv, series string, began time.Time) {
	t.Helper()
	found := prometheus.Exemplars(series, began.Add(-time.Minute), time.Now().Add(time.Minute))
	if len(found) == 0 {
		t.Errorf("%s has no exemplar", series)
	}
	for _, e := range found {
		if !slices.ContainsFunc(spans.Spans(), func(s otlp.Span) bool {
			return s.TraceID == e.Labels["trace_id"] && s.SpanID == e.Labels["span_id"]
		}) {
			t.Errorf("%s: the collector has no span of the exemplar %v", series, e.Labels)
		}
	}
}

func sum(list []float64) (total float64) {
	for _, v := range list {
		total += v
	}
	return total
}
