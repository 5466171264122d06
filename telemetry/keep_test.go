package telemetry

import (
	"testing"
	"time"
)

func TestKeepReason_IsTheFirstThatHolds(t *testing.T) {
	start := time.Now()
	failovers, retries := []Failover{{}}, []Retry{{}}
	for _, tt := range []struct {
		name string
		of   *Record
		want KeepReason
	}{
		{"nothing happened", &Record{Outcome: OK, End: start.Add(time.Second), Slow: time.Second}, Ordinary},
		{"it took longer than it should", &Record{Outcome: OK, End: start.Add(time.Second + 1), Slow: time.Second}, KeepSlow},
		{"nobody says how long it should take", &Record{Outcome: OK, End: start.Add(time.Hour)}, Ordinary},
		{"a stream may take as long as it likes", &Record{Outcome: Upgraded, Stream: WebSocket, End: start.Add(time.Hour), Slow: time.Second}, Ordinary},
		{"the backend's 4xx is ordinary", &Record{Outcome: ClientError}, Ordinary},
		{"a client that left goes before slow", &Record{Outcome: ClientGone, End: start.Add(time.Hour), Slow: time.Second}, KeepClientLeft},
		{"a retry goes before a rejection", &Record{Outcome: RequestTimeout, Retries: retries}, KeepRetry},
		{"a failover goes before a retry", &Record{Outcome: OK, Failovers: failovers, Retries: retries}, KeepFailover},
		{"an error goes before a failover", &Record{Outcome: UpstreamReset, Failovers: failovers, Retries: retries}, KeepError},
		{"it has not ended yet", &Record{Outcome: Responded, Slow: time.Nanosecond}, Ordinary},
	} {
		tt.of.Start = start
		if got := tt.of.keepReason(); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// exports counts how often it was asked, and has one answer.
type exports struct {
	Tracing
	asked int
	says  Export
}

func (e *exports) Exports(r *Record) Export {
	e.asked++
	if r.Reason == Ordinary {
		return Dropped
	}
	return e.says
}

// What pace's own response says of the trace stays true, whatever happens until the end.
func TestDecide_Holds(t *testing.T) {
	for _, says := range []Export{Kept, Dropped} {
		tracing := &exports{says: says}
		tel, r := &Telemetry{Tracing: tracing}, &Record{Outcome: RateLimited}
		if got := tel.Decide(r); got != says || r.Reason != KeepRejected {
			t.Errorf("got %s for %s, want %s", got, r.Reason, says)
		}
		r.Outcome = InternalError // a panic after the response
		tracing.says = Kept
		tel.decideLast(r)
		if r.Export != says || r.Reason != KeepError || tracing.asked != 1 {
			t.Errorf("at the end: %s for %s, asked %d times; want %s for error, asked once", r.Export, r.Reason, tracing.asked, says)
		}
	}
}

func TestDecide_AnOrdinaryExchangeMayBecomeSlow(t *testing.T) {
	tel, r := &Telemetry{Tracing: &exports{says: Kept}}, &Record{Outcome: Responded, Start: time.Now(), Slow: time.Second}
	if got := tel.Decide(r); got != Dropped {
		t.Errorf("before its end it is %s", got)
	}
	r.End = r.Start.Add(2 * time.Second)
	if tel.decideLast(r); r.Export != Kept || r.Reason != KeepSlow {
		t.Errorf("at its end it is %s for %q", r.Export, r.Reason)
	}
}
