package metrics

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"

	"pace/telemetry"
)

// scrapeNative returns what a scraper gets that asks for protobuf, by family.
func scrapeNative(t testing.TB, m *Metrics) map[string]*dto.MetricFamily {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", string(expfmt.NewFormat(expfmt.TypeProtoDelim)))
	m.Handler().ServeHTTP(w, r)
	families := map[string]*dto.MetricFamily{}
	for d := expfmt.NewDecoder(bytes.NewReader(w.Body.Bytes()), expfmt.ResponseFormat(w.Header())); ; {
		f := new(dto.MetricFamily)
		if err := d.Decode(f); err != nil {
			return families
		}
		families[f.GetName()] = f
	}
}

// countsOf returns the counts of a native histogram's buckets by their index; the upper bound of the bucket i is
// 2^(i/8).
func countsOf(h *dto.Histogram) map[int]int64 {
	counts := map[int]int64{}
	at, next, count := 0, 0, int64(0)
	for _, span := range h.GetPositiveSpan() {
		at += int(span.GetOffset())
		for range span.GetLength() {
			count += h.GetPositiveDelta()[next]
			if count != 0 {
				counts[at] = count
			}
			at, next = at+1, next+1
		}
	}
	return counts
}

// newNative returns metrics with native histograms, which show exemplars.
func newNative(t testing.TB) *Metrics {
	t.Helper()
	m, err := New(Options{Version: "1", Resource: resource.Empty(), State: &telemetry.State{}, Exemplars: true, Native: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Shutdown(t.Context()) })
	return m
}

// TestNative_IsAHistogramOfPrometheus compares a native tally and a native histogram of the SDK with one of
// Prometheus' own library: random durations, and all bounds.
func TestNative_IsAHistogramOfPrometheus(t *testing.T) {
	theirs := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "h", NativeHistogramBucketFactor: 1.1})
	m := newNative(t)
	add := func(d time.Duration) {
		theirs.Observe(d.Seconds())
		start := time.Now()
		m.Publish(telemetry.Ended, &telemetry.Record{Method: "GET", Scheme: "http", Status: 200, Outcome: telemetry.OK, Start: start, End: start.Add(d)})
	}
	random := rand.New(rand.NewPCG(7, 8))
	for range 20_000 {
		add(time.Duration(math.Exp(random.Float64() * math.Log(math.MaxInt64)))) // 1 ns to 292 years, evenly on a log scale
	}
	for i := range 63 * nativePerOctave {
		d := time.Duration(math.Round(math.Exp2(float64(i)/nativePerOctave - 30 + math.Log2(1e9))))
		add(d - 1)
		add(d)
		add(d + 1)
	}
	add(math.MaxInt64)
	var written dto.Metric
	if err := theirs.Write(&written); err != nil {
		t.Fatal(err)
	}
	reference := written.Histogram
	for _, name := range []string{ServerDuration.Name, OlderDuration.Name} {
		h := scrapeNative(t, m)[name].GetMetric()[0].GetHistogram()
		if h.GetSchema() != 3 || h.GetSampleCount() != reference.GetSampleCount() || h.GetZeroCount() != reference.GetZeroCount() {
			t.Errorf("%s: schema %d, %d durations, %d of them 0; want schema 3, %d, %d", name,
				h.GetSchema(), h.GetSampleCount(), h.GetZeroCount(), reference.GetSampleCount(), reference.GetZeroCount())
		}
		got, want := countsOf(h), countsOf(reference)
		for i := range 1000 {
			if i -= 500; got[i] != want[i] {
				t.Errorf("%s: %d durations in the bucket %d, want %d", name, got[i], i, want[i])
			}
		}
	}
}

// With native histograms there are no others, and what has no duration yet is there at 0.
func TestNative_LeavesNoClassicHistogram(t *testing.T) {
	m, r := newNative(t), exchange(1, 60*time.Millisecond)
	m.Publish(telemetry.Begun, r)
	m.Publish(telemetry.Ended, r)
	stream := exchange(2, time.Second)
	stream.Stream, stream.Closed, stream.Streamed = telemetry.WebSocket, telemetry.ClosedByClient, stream.End
	m.Publish(telemetry.BecameStream, stream)
	stream.End = stream.End.Add(time.Minute)
	m.Publish(telemetry.Ended, stream)
	scraped := scrapeNative(t, m)
	for _, i := range Instruments() {
		if i.Type != Histogram {
			continue
		}
		if len(scraped[i.Name].GetMetric()) == 0 {
			t.Errorf("%s is missing", i.Name)
		}
		for _, s := range scraped[i.Name].GetMetric() {
			if h := s.GetHistogram(); h.Schema == nil || len(h.GetBucket()) > 0 || len(h.GetPositiveSpan()) == 0 {
				t.Errorf("%s %v is no native histogram: %v", i.Name, s.GetLabel(), h)
			}
		}
	}
}

// A native histogram has all exemplars, one for each of the bounds that the classic one would have; a scrape in
// a text format, which shows a single bucket, has the newest one.
func TestNative_HasExemplars(t *testing.T) {
	m := newNative(t)
	for i, took := range []time.Duration{time.Minute, 60 * time.Millisecond, 61 * time.Millisecond} {
		r := exchange(byte(i+1), took)
		m.Publish(telemetry.Ended, r)
		m.Accepted(r)
	}
	var values []float64
	for _, e := range scrapeNative(t, m)[ServerDuration.Name].GetMetric()[0].GetHistogram().GetExemplars() {
		values = append(values, e.GetValue())
	}
	if fmt.Sprint(values) != "[0.061 60]" {
		t.Errorf("exemplars of %v s, want of 0.061 and 60", values)
	}
	if got := exemplarsOf(t, m)[ServerDuration.Name+"_bucket +Inf"]; got != "03 0103" {
		t.Errorf("in text the exemplar is %q, want that of the third trace", got)
	}
}

// A scrape that comes while requests are counted has as many durations as its buckets hold: Prometheus refuses others.
func TestNative_ConcurrentSafe(t *testing.T) {
	tally := newTally(nil, true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 20_000 {
			tally.add(time.Duration(i * i))
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		p := tally.native.point(time.Time{}, time.Now(), *attribute.EmptySet())
		held := p.ZeroCount
		for _, n := range p.PositiveBucket.Counts {
			held += n
		}
		if held != p.Count {
			t.Fatalf("%d durations in the buckets, %d in all", held, p.Count)
		}
	}
	if p := tally.native.point(time.Time{}, time.Now(), *attribute.EmptySet()); p.Count != 20_000 {
		t.Errorf("%d durations, want 20000", p.Count)
	}
}

func BenchmarkTally(b *testing.B) {
	for _, native := range []bool{false, true} {
		b.Run(fmt.Sprintf("native=%v", native), func(b *testing.B) {
			b.ReportAllocs()
			t := newTally(tallyBounds, native)
			for d := time.Duration(1); b.Loop(); d += 12345 {
				t.add(d)
			}
		})
	}
}
