package inflight_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pace/telemetry"
	"pace/telemetry/inflight"
	"pace/telemetry/telemetrytest"
)

func TestList_OldestFirst(t *testing.T) {
	b := telemetrytest.New(t, nil)
	synctest.Test(t, func(t *testing.T) {
		var running []*telemetry.Record
		for i := range 20 {
			b.Request(nil, func(_ context.Context, r *telemetry.Record) {
				r.Path, r.Client, r.Route, r.RequestID = "/"+string(rune('a'+i)), "192.0.2.1", telemetrytest.DefaultRoute, "id"
				running = append(running, r)
			})
			time.Sleep(time.Second)
		}
		running[3].BeginAttempt("10.0.0.1:80", "10.0.0.1", 80)
		running[3].Enter(telemetry.Wait)
		running[7].BeginAttempt("10.0.0.2:80", "10.0.0.2", 80)
		b.BecomeStream(running[7], telemetry.EventStream)
		time.Sleep(time.Second)
		listed := slices.Clone(running)
		slices.SortFunc(listed, func(a, b *telemetry.Record) int { return int(a.Path[1]%5) - int(b.Path[1]%5) })
		got := inflight.List(slices.Values(listed), time.Now())
		if len(got) != 20 || !slices.IsSortedFunc(got, func(a, b inflight.Running) int { return int(b.AgeMS - a.AgeMS) }) {
			t.Fatalf("got %d, oldest first: %+v", len(got), got)
		}
		for i, r := range got {
			if want := "/" + string(rune('a'+i)); r.Path != want || r.AgeMS != float64(21-i)*1000 || r.Method != "GET" || r.TraceID != running[i].Trace {
				t.Errorf("place %d: got %+v, want %s", i, r, want)
			}
		}
		if r := got[3]; r.Phase != "wait" || r.PhaseMS != 1000 || r.Backend != "10.0.0.1:80" || r.Attempts != 1 {
			t.Errorf("one that waits for a backend: got %+v", r)
		}
		if r := got[7]; r.Stream != "sse" || r.Phase != "receive" {
			t.Errorf("a stream: got %+v", r)
		}
		for _, r := range running {
			b.End(r)
		}
	})
}

func TestList_OfNothingIsAnEmptyList(t *testing.T) {
	none := inflight.List(slices.Values([]*telemetry.Record{}), time.Now())
	if raw, err := json.Marshal(none); string(raw) != "[]" || err != nil {
		t.Errorf("nothing in flight reads %s, %v", raw, err)
	}
}

// What the client did not say is empty, and what it said cannot harm a terminal.
func TestOf_HostileRequests(t *testing.T) {
	b := telemetrytest.New(t, nil)
	b.Request(nil, func(_ context.Context, r *telemetry.Record) {
		r.Path, r.RequestID = "", "\x1b[31m"
		if got := inflight.Of(r, time.Now()); got.Path != "" || got.RequestID != "\uFFFD[31m" {
			t.Errorf("got %+v", got)
		}
		b.End(r)
	})
}

// The log's line about a slow exchange has the facts of the API, under the same names.
func TestAttrs_AreTheFactsOfTheAPI(t *testing.T) {
	r := inflight.Running{Method: "GET", Path: "/p", Client: "192.0.2.1", Phase: "wait", PhaseMS: 1, AgeMS: 2, Backend: "10.0.0.1:80", Attempts: 3, TraceID: "t", RequestID: "i"}
	raw, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var shown map[string]any
	if err := json.Unmarshal(raw, &shown); err != nil {
		t.Fatal(err)
	}
	attrs := r.Attrs()
	for _, a := range attrs {
		if want, ok := shown[a.Key]; !ok || a.Value.String() != fmt.Sprint(want) {
			t.Errorf("%s is %v in the line, %v in the API", a.Key, a.Value, want)
		}
	}
	if len(attrs) != 10 {
		t.Errorf("the line has %d attributes, want 10: all but the route and the stream", len(attrs))
	}
}
