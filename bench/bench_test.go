package main

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

func TestParseStat(t *testing.T) {
	tests := map[string]struct {
		line  string
		group int
		ticks int64
		fault bool
	}{
		"plain name":            {"7 (pace) S 1 6 5 0 -1 4194560 1 2 3 4 150 25 9 9 20 0", 6, 175, false},
		"name that ends fields": {"7 (a) S 1 99 (b) R 1 6 5 0 -1 4194560 1 2 3 4 150 25 9 9", 6, 175, false},
		"cut off":               {"7 (pace) S 1 6", 0, 0, true},
		"empty":                 {"", 0, 0, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			group, ticks, err := parseStat([]byte(tt.line))
			if (err != nil) != tt.fault || group != tt.group || ticks != tt.ticks {
				t.Errorf("parseStat(%q) = %d, %d, %v", tt.line, group, ticks, err)
			}
		})
	}
}

func TestUsage_CountsChildren(t *testing.T) {
	proc, err := start(t.TempDir(), "parent", "sh", "-c", "while :; do :; done & wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proc.stop)
	if err := proc.await(func() error {
		u, err := proc.usage()
		if err == nil && u.cpu < 50*time.Millisecond {
			err = errors.New("no CPU counted yet")
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestParseWrk(t *testing.T) {
	l, err := parseWrk("Running 1s test\nRequests/sec: 5\nbench 2000 2000000 0 1500 9000\n")
	if want := (load{requests: 2000, seconds: 2, p50: 1500 * time.Microsecond, p99: 9 * time.Millisecond}); err != nil || l != want {
		t.Errorf("got %+v, %v, want %+v", l, err, want)
	}
	for name, out := range map[string]string{
		"no report":         "unable to connect",
		"a failed request":  "\nbench 2000 2000000 1 1500 9000\n",
		"nothing came back": "\nbench 0 2000000 0 0 0\n",
	} {
		if l, err := parseWrk(out); err == nil {
			t.Errorf("%s: got %+v and no error", name, l)
		}
	}
}

func TestCountSpans(t *testing.T) {
	scope := func(n int) *trace.ScopeSpans {
		s := &trace.ScopeSpans{SchemaUrl: "x"}
		for range n {
			s.Spans = append(s.Spans, &trace.Span{Name: "GET", TraceId: bytes.Repeat([]byte{0x12}, 16)})
		}
		return s
	}
	body, err := proto.Marshal(&collector.ExportTraceServiceRequest{ResourceSpans: []*trace.ResourceSpans{
		{ScopeSpans: []*trace.ScopeSpans{scope(2), scope(0)}}, {ScopeSpans: []*trace.ScopeSpans{scope(3)}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := countSpans(body); n != 5 || err != nil {
		t.Errorf("got %d, %v, want 5 spans", n, err)
	}
	if n, err := countSpans(body[:len(body)-1]); err == nil {
		t.Errorf("cut off: got %d spans and no fault", n)
	}
}

func TestBackend(t *testing.T) {
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	go serveBackend(addr)
	var body bytes.Buffer
	for deadline := time.Now().Add(5 * time.Second); ; {
		if err = get(addr, "/small", smallSize, &body); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil || !strings.HasSuffix(body.String(), `"}`) {
		t.Fatalf("/small: %v, %q", err, &body)
	}
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for path, size := range map[string]int64{"/mib": mib, "/gib": gib, "/small": smallSize} { // on one connection
		if err := ask(conn, path, size, io.Discard); err != nil {
			t.Error(err)
		}
	}
	if n, err := accepted(addr); err != nil || n < 3 {
		t.Errorf("accepted: got %d, %v, want this third connection counted", n, err)
	}
	if err := get(addr, "/other", -1, io.Discard); err == nil {
		t.Error("an unknown path was answered")
	}
}

func TestMedian(t *testing.T) {
	for want, costs := range map[float64][]float64{0: nil, 2: {9, 1, 2}, 3: {4, 1, 2, 9}} {
		var samples []sample
		for _, c := range costs {
			samples = append(samples, sample{cost: c})
		}
		if got := median(samples, cost); got != want {
			t.Errorf("median of %v: got %v, want %v", costs, got, want)
		}
	}
}

func TestCheckRatio(t *testing.T) {
	small := func(pace float64) map[string]map[string][]sample {
		return map[string]map[string][]sample{"small": {bare: {{cost: 60}}, paceOn: {{cost: pace}}}}
	}
	tests := map[string]struct {
		results map[string]map[string][]sample
		fails   bool
	}{
		"within the ratio":      {small(30), false},
		"within the margin":     {small(57), false},
		"beyond the margin":     {small(60), true},
		"pace was not measured": {map[string]map[string][]sample{"small": {bare: {{cost: 60}}}}, true},
		"nothing was measured":  {nil, true},
	}
	for name, tt := range tests {
		b := &bench{options: options{maxRatio: 0.65}, results: tt.results}
		if err := b.checkRatio(); (err != nil) != tt.fails {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
