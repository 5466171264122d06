package metrics

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/types/known/timestamppb"

	"pace/telemetry"
)

// ExemplarAge is how long an exemplar is shown at most: collectors do not store traces for ever.
const ExemplarAge = 5 * time.Minute

// exemplars lead from a bucket of a histogram to a trace. The SDK's are chosen as a value is recorded, when
// nobody knows yet whether the trace will be exported, and stay for ever. These are noted once the collector has
// accepted the trace, the last one for each bucket, and added to what the registry gathers. Safe for concurrent
// use.
type exemplars struct {
	mu      sync.Mutex // guards what follows
	older   map[olderKey]*exemplarSeries
	server  map[requestKey]*exemplarSeries
	client  map[attemptKey]*exemplarSeries
	ofPhase [telemetry.PhaseCount]*exemplarSeries
}

// exemplarSeries are the exemplars of one series of a histogram.
type exemplarSeries struct {
	key    string // see [seriesKey]
	bounds []float64
	of     []noted // one for each bucket
}

// noted is an exemplar; its zero value stands for none.
type noted struct {
	value   float64
	trace   trace.TraceID
	span    trace.SpanID
	at      time.Time // when the value was recorded
	noticed time.Time // when the collector accepted the trace
}

func newExemplars() *exemplars {
	return &exemplars{
		older:  map[olderKey]*exemplarSeries{},
		server: map[requestKey]*exemplarSeries{},
		client: map[attemptKey]*exemplarSeries{},
	}
}

// Accepted notes that the collector has the trace of an ended record, which [Metrics.Publish] was given before.
func (m *Metrics) Accepted(r *telemetry.Record) {
	e := m.exemplars
	if e == nil || r.Mirror {
		return
	}
	over := r.End
	if r.Stream != telemetry.NoStream {
		over = r.Streamed
	}
	seconds, k := over.Sub(r.Start).Seconds(), requestKeyOf(r)
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	n := noted{value: seconds, trace: r.Identity.Context.TraceID(), span: r.Identity.Context.SpanID(), at: over, noticed: now}
	older := olderKey{k.method, k.status}
	series(e.older, older, OlderDuration, older.set).note(n)
	series(e.server, k, ServerDuration, func() attribute.Set { return serverSet(r, true) }).note(n)
	if r.Stream != telemetry.NoStream {
		return // its attempt and phases went on after they were measured
	}
	for i := range r.Attempts {
		a := &r.Attempts[i]
		n.value, n.span, n.at = a.End.Sub(a.Start).Seconds(), a.Span, a.End
		series(e.client, attemptKeyOf(r, a), ClientDuration, func() attribute.Set { return attemptSet(r, i) }).note(n)
	}
	n.span, n.at = r.Identity.Context.SpanID(), over
	for p, d := range &r.Phases {
		if d > 0 {
			n.value = d.Seconds()
			e.phase(telemetry.Phase(p)).note(n)
		}
	}
}

// series returns the series of a key, and makes it if it is the key's first.
func series[K comparable](of map[K]*exemplarSeries, k K, i Instrument, set func() attribute.Set) *exemplarSeries {
	s := of[k]
	if s == nil {
		s = newExemplarSeries(i, set())
		of[k] = s
	}
	return s
}

func (e *exemplars) phase(p telemetry.Phase) *exemplarSeries {
	if e.ofPhase[p] == nil {
		if p == telemetry.Own {
			e.ofPhase[p] = newExemplarSeries(Overhead, *attribute.EmptySet())
		} else {
			e.ofPhase[p] = newExemplarSeries(PhaseDuration, attribute.NewSet(Phase.is(p.String())))
		}
	}
	return e.ofPhase[p]
}

func newExemplarSeries(i Instrument, set attribute.Set) *exemplarSeries {
	var labels []string
	for _, kv := range set.ToSlice() {
		labels = append(labels, label(string(kv.Key)).Name+"="+kv.Value.String())
	}
	return &exemplarSeries{key: seriesKey(i.Name, labels), bounds: i.Bounds, of: make([]noted, len(i.Bounds)+1)}
}

// seriesKey names a series by its family and its labels, each NAME=VALUE.
func seriesKey(family string, labels []string) string {
	slices.Sort(labels)
	return family + "\x00" + strings.Join(labels, "\x00")
}

// note makes n the exemplar of its bucket: the last one is the most likely to be found.
func (s *exemplarSeries) note(n noted) {
	i, _ := slices.BinarySearch(s.bounds, n.value)
	s.of[i] = n
}

// gatherer adds the exemplars to what another one gathers.
func (e *exemplars) gatherer(of prometheus.Gatherer) prometheus.Gatherer {
	return prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, err := of.Gather()
		e.attach(families)
		return families, err
	})
}

// attach adds the exemplars to their buckets, and forgets those that are too old.
func (e *exemplars) attach(families []*dto.MetricFamily) {
	e.mu.Lock()
	defer e.mu.Unlock()
	since := time.Now().Add(-ExemplarAge)
	shown := map[string]*exemplarSeries{}
	show := func(s *exemplarSeries) (any bool) {
		for i := range s.of {
			if s.of[i].noticed.Before(since) {
				s.of[i] = noted{}
			}
			any = any || !s.of[i].noticed.IsZero()
		}
		if any {
			shown[s.key] = s
		}
		return any
	}
	showAll(e.older, show)
	showAll(e.server, show)
	showAll(e.client, show)
	for _, s := range e.ofPhase {
		if s != nil {
			show(s)
		}
	}
	for _, f := range families {
		for _, one := range f.GetMetric() {
			if one.Histogram == nil {
				continue
			}
			var labels []string
			for _, l := range one.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			if s := shown[seriesKey(f.GetName(), labels)]; s != nil {
				s.attach(one.Histogram)
			}
		}
	}
}

// showAll shows every series, and forgets those that have nothing to show.
func showAll[K comparable](of map[K]*exemplarSeries, show func(*exemplarSeries) bool) {
	for k, s := range of {
		if !show(s) {
			delete(of, k)
		}
	}
}

// attach adds the exemplars to the buckets of h. A native histogram has a list of them, and its only classic bucket,
// which scrapes in text formats show, gets the newest one.
func (s *exemplarSeries) attach(h *dto.Histogram) {
	newest := noted{}
	for i := range s.of {
		n := s.of[i]
		switch {
		case n.noticed.IsZero():
		case h.Schema != nil:
			h.Exemplars = append(h.Exemplars, n.exemplar())
			if n.noticed.After(newest.noticed) {
				newest = n
			}
		case i < len(s.bounds):
			s.attachTo(h, s.bounds[i], n)
		default:
			s.attachTo(h, math.Inf(1), n)
		}
	}
	if !newest.noticed.IsZero() {
		s.attachTo(h, math.Inf(1), newest)
	}
}

// attachTo adds an exemplar to the bucket with an upper bound. Only the last one may be missing in h.
func (s *exemplarSeries) attachTo(h *dto.Histogram, bound float64, n noted) {
	at, ok := slices.BinarySearchFunc(h.Bucket, bound, func(b *dto.Bucket, bound float64) int { return cmp.Compare(b.GetUpperBound(), bound) })
	if !ok {
		if !math.IsInf(bound, 1) {
			return
		}
		h.Bucket = append(h.Bucket, &dto.Bucket{UpperBound: &bound, CumulativeCount: new(h.GetSampleCount())})
	}
	h.Bucket[at].Exemplar = n.exemplar()
}

func (n noted) exemplar() *dto.Exemplar {
	return &dto.Exemplar{
		Label: []*dto.LabelPair{
			{Name: new("span_id"), Value: new(n.span.String())},
			{Name: new("trace_id"), Value: new(n.trace.String())},
		},
		Value: new(n.value), Timestamp: timestamppb.New(n.at),
	}
}
