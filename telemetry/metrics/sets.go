package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"pace/telemetry"
)

// requestKey is all that the label sets of a request's histograms depend on. Each part is bounded: by the table
// of methods, the configuration, and the statuses that a backend may send.
type requestKey struct {
	method, scheme, route string
	status                int
	outcome               telemetry.Outcome
}

func requestKeyOf(r *telemetry.Record) requestKey {
	return requestKey{telemetry.KnownMethod(r.Method), r.Scheme, r.Route, r.Status, r.Outcome}
}

// attemptKey is all that the label set of an attempt depends on.
type attemptKey struct {
	method, backend, upstream string
	status                    int
	failure                   telemetry.Outcome
}

func attemptKeyOf(r *telemetry.Record, a *telemetry.Attempt) attemptKey {
	return attemptKey{telemetry.KnownMethod(r.Method), a.Backend, r.Upstream, a.Status, a.Failure}
}

func olderSet(k requestKey) attribute.Set {
	return attribute.NewSet(attribute.String(olderMethod.Key, k.method), attribute.Int(olderStatus.Key, k.status))
}

// serverSet are the labels of [ServerDuration], from the table of facts.
func serverSet(r *telemetry.Record) attribute.Set {
	var list []attribute.KeyValue
	for _, f := range telemetry.Facts() {
		if f.Label {
			list = telemetry.AppendAttribute(list, f.Attribute, f.Value(r))
		}
	}
	return attribute.NewSet(list...)
}

// attemptSet is the labels of [ClientDuration] for attempt i, from the table of details.
func attemptSet(r *telemetry.Record, i int) attribute.Set {
	return attribute.NewSet(telemetry.Attributes(attemptLabels, &telemetry.AttemptOf{Record: r, Attempt: &r.Attempts[i], Index: i})...)
}

// setCache keeps the options of each label set, because building and hashing one costs more than recording a
// value with it.
type setCache[K comparable] struct {
	known atomic.Pointer[map[K][]metric.RecordOption]
	mu    sync.Mutex // held by who replaces known
}

func (c *setCache[K]) get(k K, set func(K) attribute.Set) []metric.RecordOption {
	if m := c.known.Load(); m != nil {
		if o, ok := (*m)[k]; ok {
			return o
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[K][]metric.RecordOption{}
	if m := c.known.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[k] = []metric.RecordOption{metric.WithAttributeSet(set(k))}
	c.known.Store(&next)
	return next[k]
}
