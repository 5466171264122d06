package metrics

import (
	"math"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// Native histograms have buckets of one relative width in place of chosen bounds: nativePerOctave in each octave,
// from a power of two to the next one, so each bucket's upper bound is 9 % above its lower one. Prometheus calls
// that schema 3, OpenTelemetry scale 3.
const (
	nativeScale     = 3
	nativePerOctave = 1 << nativeScale
)

// The octaves of all durations: the first one ends at 2^firstOctave seconds, which is 1.9 ns, and the last one has
// the longest duration that there is.
const (
	firstOctave = -29
	octaveCount = 64
)

// nativeView makes the SDK's histograms native. As many buckets as all durations have never take a coarser scale.
var nativeView = sdkmetric.NewView(sdkmetric.Instrument{Kind: sdkmetric.InstrumentKindHistogram},
	sdkmetric.Stream{Aggregation: sdkmetric.AggregationBase2ExponentialHistogram{
		MaxSize: octaveCount * nativePerOctave, MaxScale: nativeScale, NoMinMax: true,
	}})

// nativeBounds are the upper bounds of the buckets of the octave from 0.5 to 1, as Prometheus' library has them:
// [math.Exp2] differs in the last bit.
var nativeBounds = [nativePerOctave]float64{
	0.5452538663326288, 0.5946035575013605, 0.6484197773255048, 0.7071067811865475,
	0.7711054127039704, 0.8408964152537144, 0.9170040432046711, 1,
}

// octaves are the buckets of a native tally. Durations rarely fall into more than a few octaves, so the buckets of
// an octave are made when its first duration comes.
type octaves struct {
	zero atomic.Uint64 // durations of no length
	of   [octaveCount]atomic.Pointer[octave]
}

type octave [nativePerOctave]atomic.Uint64

func (o *octaves) add(d time.Duration) {
	if d <= 0 {
		o.zero.Add(1)
		return
	}
	fraction, exponent := math.Frexp(d.Seconds()) // seconds = fraction * 2^exponent, 0.5 <= fraction < 1
	if fraction == 0.5 {                          // a power of two is the last bound of the octave below
		fraction, exponent = 1, exponent-1
	}
	i := 0
	for nativeBounds[i] < fraction {
		i++
	}
	at := &o.of[exponent-firstOctave]
	buckets := at.Load()
	if buckets == nil {
		at.CompareAndSwap(nil, new(octave))
		buckets = at.Load()
	}
	buckets[i].Add(1)
}

func (o *octaves) point(start, now time.Time, labels attribute.Set) metricdata.ExponentialHistogramDataPoint[float64] {
	p := metricdata.ExponentialHistogramDataPoint[float64]{
		Attributes: labels, StartTime: start, Time: now, Scale: nativeScale, ZeroCount: o.zero.Load(),
	}
	p.Count = p.ZeroCount
	for n := range o.of {
		buckets := o.of[n].Load()
		if p.PositiveBucket.Counts == nil {
			if buckets == nil {
				continue
			}
			p.PositiveBucket.Offset = int32((firstOctave - 1 + n) * nativePerOctave)
		}
		for i := range nativePerOctave {
			count := uint64(0)
			if buckets != nil {
				count = buckets[i].Load()
			}
			p.PositiveBucket.Counts = append(p.PositiveBucket.Counts, count)
			p.Count += count
		}
	}
	return p
}
