// Package mix sends a seeded mix of requests with known outcomes through real paces. The clients, the
// backends and a recording of the traffic say what happened; together they are the [Truth]. The readers
// compare metrics, spans and access lines with it, request by request. Metrics come from a Prometheus or
// from pace's own page, spans from the exporter or from a Jaeger.
// The package knows only the configuration of pace and docs/interface.md. It never compares one output of
// pace with another one.
package mix

import (
	"cmp"
	"math/rand/v2"
	"sync"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/wiretap"
)

// Options say what a mix is made of; the zero value is all there is, sent to no collector.
type Options struct {
	Requests  int           // how many, about
	Houses    []string      // those that take part; nil: all
	Kinds     []string      // those of the exchanges; nil: all whose house is there
	Mode      pacetest.Mode // what the clients speak; "": either, at random
	TLS       float64       // share of the exchanges that go over TLS; 0: the paces have no listener for it
	Sealed    float64       // share of the backends that speak TLS, of those whose traffic need not be recorded
	Clients   int           // how many exchanges go on at a time; 0: 48
	Drain     bool          // whether the house main ends while requests arrive; see Mix.Drain
	Collector string        // host:port that takes OTLP over gRPC
	Sampled   float64       // share of the exchanges whose traces are sampled, where the house allows less; 0: see below
}

// Clients decide which traces are sampled, 95 % of them. If Options.Sampled says another share, only half of the
// clients decide; pace decides for the others, by tracing.sample_ratio.

// Mix is all that takes part in one mix.
type Mix struct {
	t         testing.TB
	random    *rand.Rand
	mode      pacetest.Mode
	kinds     []string
	tls       float64
	ca        *pacetest.CA // of all certificates; nil: nobody speaks TLS
	sealed    float64
	https     map[string]bool // addresses of the backends that speak TLS
	clients   int
	collector string
	sampled   float64
	ratio     float64      // tracing.sample_ratio; 0: its default, and clients decide
	tap       *wiretap.Tap // nil: no house needs the wire's account
	houses    map[string]*house
	byPath    map[string]*exchange // made before the mix begins, and then only read
	source    uint32
	crashers  []*crasher
	own       []*ownClients // of all who send

	script     []*exchange
	dying      [][]*exchange // who is at hand when a crasher dies
	held       *exchange     // in flight while main drains; nil: it does not
	late       []*exchange   // arriving then
	bystanders sync.RWMutex  // held for reading by each exchange of the house crashing; see crash
}

// New starts the houses and writes the script. A house is one pace with its backends.
func New(t testing.TB, seed uint64, o Options) *Mix {
	mx := bare(t, seed)
	mx.mode, mx.collector, mx.sampled, mx.ratio = o.Mode, o.Collector, cmp.Or(o.Sampled, 0.95), o.Sampled
	if mx.kinds, mx.tls, mx.sealed = o.Kinds, o.TLS, o.Sealed; o.TLS > 0 || o.Sealed > 0 {
		mx.ca = pacetest.NewCA(t)
	}
	if o.Clients > 0 {
		mx.clients = o.Clients
	}
	mx.build(o.Houses)
	mx.write(o.Requests, o.Drain)
	return mx
}

func bare(t testing.TB, seed uint64) *Mix {
	return &Mix{t: t, random: rand.New(rand.NewPCG(seed, 6)), clients: 48, houses: map[string]*house{}, https: map[string]bool{}, byPath: map[string]*exchange{}}
}

// Admins are the addresses that a Prometheus has to scrape.
func (mx *Mix) Admins() (list []string) {
	for _, h := range mx.houses {
		list = append(list, h.Admin)
	}
	return list
}
