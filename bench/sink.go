package main

import (
	"io"
	"net"
	"net/http"
	"sync/atomic"

	"google.golang.org/protobuf/encoding/protowire"
)

// sink is an OTLP/HTTP receiver that counts spans and keeps nothing.
type sink struct {
	url   string // base, for OTEL-style endpoints
	spans atomic.Int64
	bad   atomic.Int64 // bodies that were not OTLP traces
}

func newSink() (*sink, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{url: "http://" + listener.Addr().String()}
	go http.Serve(listener, s)
	return s, nil
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	n, ok := countSpans(body, traceData)
	if err != nil || !ok || r.URL.Path != "/v1/traces" {
		s.bad.Add(1)
		http.Error(w, "not OTLP traces", http.StatusBadRequest)
		return
	}
	s.spans.Add(int64(n))
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty body is an empty, valid answer
}

// traceData are the fields from ExportTraceServiceRequest down to a Span: resource_spans,
// scope_spans, spans (opentelemetry/proto/trace/v1). Walking them without decoding costs a
// tenth of Unmarshal; the sink shares the two cores with what is measured.
var traceData = []protowire.Number{1, 2, 2}

// countSpans counts the messages at the end of path. ok is false when the bytes are no protobuf.
func countSpans(msg []byte, path []protowire.Number) (n int, ok bool) {
	if len(path) == 0 {
		return 1, true
	}
	for len(msg) > 0 {
		number, kind, size := protowire.ConsumeField(msg)
		if size < 0 {
			return 0, false
		}
		if number == path[0] && kind == protowire.BytesType {
			_, _, tag := protowire.ConsumeTag(msg)
			inner, _ := protowire.ConsumeBytes(msg[tag:])
			m, ok := countSpans(inner, path[1:])
			if !ok {
				return 0, false
			}
			n += m
		}
		msg = msg[size:]
	}
	return n, true
}
