package metrics

import (
	"slices"
	"sync/atomic"

	"pace/telemetry"
)

// protocols are the versions of HTTP that clients may use, as a record names them.
var protocols = [...]string{"1.0", "1.1", "2", "3"}

// protocolTallies count requests by protocol. One more label of the histograms would multiply their series.
type protocolTallies [len(protocols)]atomic.Int64

func (t *protocolTallies) add(r *telemetry.Record) {
	if i := slices.Index(protocols[:], r.Protocol); i >= 0 {
		t[i].Add(1)
	}
}
