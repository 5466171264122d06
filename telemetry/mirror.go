package telemetry

import (
	"encoding/binary"
	"math/rand/v2"
	"time"

	"go.opentelemetry.io/otel/trace"
)

// BeginMirror opens the record of a copy of a request that is sent to an upstream. The copy has a trace of its
// own, which is sampled if the request's is, with a link to the request. The caller owns both records.
func (t *Telemetry) BeginMirror(of *Record, upstream string) *Record {
	c := of.Identity.Context
	r := begin(Identity{
		Context: trace.NewSpanContext(trace.SpanContextConfig{TraceID: newTraceID(), SpanID: NewSpanID(), TraceFlags: c.TraceFlags()}),
		Links:   []trace.Link{{SpanContext: c}},
	})
	r.Mirror, r.GRPC, r.Upstream, r.signals = true, of.GRPC, upstream, of.signals
	r.Method, r.Scheme, r.Path, r.SentPath, r.Query, r.QueryAllow = of.Method, of.Scheme, of.Path, of.SentPath, of.Query, of.QueryAllow
	of.Mirrored = append(of.Mirrored, Mirrored{At: time.Now(), Upstream: upstream})
	return r
}

// EndMirror ends the record of a mirror, publishes it and releases it. It has attempts, and is counted as no
// request.
func (t *Telemetry) EndMirror(r *Record) {
	r.end()
	r.Reason = Ordinary
	r.Export = t.Tracing.Exports(r)
	r.publish(MirrorEnded)
	r.Release()
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
		binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	}
	return id
}
