package proxy

import (
	"net/http/httptest"
	"testing"
	"time"

	"pace/telemetry"
)

// A timeout that has run out when it starts expires on another goroutine before startTimeout returns.
func TestTimeout_HasRunOutAsItStarts(t *testing.T) {
	t.Parallel()
	for range 2000 {
		q := &request{r: httptest.NewRequest("GET", "/", nil), rec: &telemetry.Record{Start: time.Now().Add(-time.Second)}}
		q.route = &plannedRoute{Route: Route{Timeout: time.Nanosecond}}
		q.client = client{}
		q.startTimeout()
		<-q.ctx.Done()
		if !expired(q.ctx) {
			t.Fatal("the context ended for another reason")
		}
		q.timeout.release()
	}
}
