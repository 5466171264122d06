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
	method, scheme, path, route string
	status                      int
	grpc                        telemetry.GRPCCode
	outcome                     telemetry.Outcome
}

func requestKeyOf(r *telemetry.Record) requestKey {
	return requestKey{telemetry.KnownMethod(r.Method), r.Scheme, r.RoutePath(), r.RouteName(), r.Status, r.GRPCCode, r.Outcome}
}

// attemptKey is all that the label set of an attempt depends on.
type attemptKey struct {
	method, backend, upstream string
	status                    int
	grpc                      telemetry.GRPCCode
	failure                   telemetry.Outcome
}

func attemptKeyOf(r *telemetry.Record, a *telemetry.Attempt) attemptKey {
	return attemptKey{telemetry.KnownMethod(r.Method), a.Backend, r.Upstream, a.Status, a.GRPCCode, a.Failure}
}

// olderKey is all that the label set of [OlderDuration] depends on.
type olderKey struct {
	method string
	status int
}

func (k olderKey) set() attribute.Set {
	return attribute.NewSet(attribute.String(olderMethod.Key, k.method), attribute.Int(olderStatus.Key, k.status))
}

// serverSet returns the labels of [ServerDuration], from the table of facts.
func serverSet(r *telemetry.Record, withStatus bool) attribute.Set {
	var list []attribute.KeyValue
	for _, f := range telemetry.Facts() {
		if f.Label && (withStatus || f.Attribute != Status.Key) {
			list = telemetry.AppendAttribute(list, f.Attribute, f.Value(r))
		}
	}
	return attribute.NewSet(list...)
}

// attemptSet is the labels of [ClientDuration] for attempt i, from the table of details.
func attemptSet(r *telemetry.Record, i int) attribute.Set {
	return attribute.NewSet(telemetry.Attributes(attemptLabels, &telemetry.AttemptOf{Record: r, Attempt: &r.Attempts[i], Index: i})...)
}

// cache keeps what is made for each key: building and hashing a label set costs more than recording a value with
// it. To find a key takes no lock.
type cache[K comparable, V any] struct {
	known atomic.Pointer[map[K]V]
	mu    sync.Mutex // held by who replaces known
}

func (c *cache[K, V]) find(k K) (v V, ok bool) {
	if m := c.known.Load(); m != nil {
		v, ok = (*m)[k]
	}
	return v, ok
}

// get returns what is kept for k, and makes it if it is k's first.
func (c *cache[K, V]) get(k K, make func() V) V {
	if v, ok := c.find(k); ok {
		return v
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if v, ok := c.find(k); ok {
		return v
	}
	next := map[K]V{}
	if m := c.known.Load(); m != nil {
		next = maps.Clone(*m)
	}
	next[k] = make()
	c.known.Store(&next)
	return next[k]
}

// all returns everything that is kept.
func (c *cache[K, V]) all() map[K]V {
	if m := c.known.Load(); m != nil {
		return *m
	}
	return nil
}

// recordOptions keeps the label sets with which instruments of the SDK record.
type recordOptions[K comparable] struct {
	cache[K, []metric.RecordOption]
}

func (c *recordOptions[K]) of(k K, set func() attribute.Set) []metric.RecordOption {
	if o, ok := c.find(k); ok {
		return o
	}
	return c.get(k, func() []metric.RecordOption { return []metric.RecordOption{metric.WithAttributeSet(set())} })
}
