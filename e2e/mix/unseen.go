package mix

import (
	"maps"
	"slices"

	"pace/e2e/pacetest"
	"pace/e2e/port"
)

// readWire gives each exchange the attempts in the recorded traffic, instead of those that a backend saw,
// because the traffic also shows attempts that no backend saw.
func (tr *Truth) readWire(ac *account) {
	byTrace, received := map[string]*exchange{}, map[string]attempt{}
	for _, x := range ac.exchanges {
		byTrace[x.trace] = x
		for _, a := range x.attempts {
			received[a.span] = a
		}
		x.attempts = nil
	}
	for _, m := range tr.mx.crashers {
		if slices.Contains(ac.wired, m.Address()) {
			maps.Copy(received, m.served())
		}
	}
	for _, address := range ac.wired {
		for _, parent := range tr.mx.tap.At(address).Traceparents {
			a := attempt{backend: address, body: -1}
			a.trace, a.span, a.flags = pacetest.Traceparent(parent)
			x := byTrace[a.trace]
			if x == nil {
				tr.differs("the wire saw a request of %s at %s, which nobody sent", parent, address)
				continue
			}
			if known, ok := received[a.span]; ok {
				delete(received, a.span)
				a = known
			}
			a.ending = ending{failure: "upstream_reset"}
			x.attempts = append(x.attempts, a)
		}
	}
	for span := range received {
		tr.differs("a backend of %s got an attempt %s that the wire did not see", ac.name, span)
	}
	for _, x := range ac.exchanges {
		x.settle()
	}
}

// settle finds the attempt in the recorded traffic that got the response: the last one at the backend that
// X-Backend named to the client.
func (x *exchange) settle() {
	responded := -1
	for i, a := range x.attempts {
		if a.backend == x.backend() {
			responded = i
		}
	}
	if responded < 0 {
		return
	}
	last := x.attempts[responded]
	last.ending = ending{status: 200}
	if outcome, _ := x.ends(); outcome == "upstream_truncated" {
		last.failure = outcome
	}
	x.attempts = append(slices.Delete(x.attempts, responded, responded+1), last)
}

// countUnseen adds the attempts that failed before a backend could know of them, as the wire saw them.
func (tr *Truth) countUnseen(ac *account) {
	for address, end := range ac.unseen {
		wire := tr.mx.tap.At(address)
		n := wire.Refused
		if end.failure == "connect_timeout" {
			n = wire.SYNs
		}
		ac.miss(address, end, n)
		ac.broken[address] = wire.Opened - wire.Used
	}
	// Each was followed by a failover, but for the last one of an exchange that ended so.
	for _, x := range ac.exchanges {
		if outcome, _ := x.ends(); len(x.attempts) == 0 && len(ac.unseen) > 0 {
			ac.failovers[Key("default", outcome)]--
		}
	}
}

// settleBroken decides how those attempts ended whose connection closed before a byte was written to it. If
// it closed before pace checked that it is open, connecting failed; otherwise the connection was lost. The
// recorded traffic cannot distinguish the two. So pace's metric decides, within the number of such
// connections in the traffic, and every other signal must agree with the metric.
func (ac *account) settleBroken(tries map[string]float64) {
	for address, n := range ac.broken {
		said := int(tries[Key(port.Of(address), "connect_failed")])
		early := min(max(said-ac.missed[Key(address, "connect_failed")], 0), n)
		ac.miss(address, ending{failure: "connect_failed"}, early)
		ac.miss(address, ending{failure: "upstream_reset"}, n-early)
	}
}

// settleRetries decides what followed an attempt whose connection was lost, in a house where backends crash: pace asks
// the same backend once more if the other one is out. That attempt finds no connection, so no backend sees it, and the
// traffic looks as if the other one had been next. So pace's metric decides, within the number of such attempts, and
// every other signal must agree with the metric.
func (ac *account) settleRetries(said float64) {
	lost, stale := Key("default", "upstream_reset"), "default stale_connection"
	if n := min(said-ac.retries[stale], ac.failovers[lost]); len(ac.wired) > 1 && n > 0 {
		ac.retries[stale] += n
		ac.failovers[lost] -= n
	}
}

func (ac *account) miss(address string, end ending, n int) {
	if n == 0 {
		return
	}
	ac.missed[Key(address, end.failure)] += n
	ac.failovers[Key("default", end.failure)] += float64(n)
}
