package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"
)

// sink is an OTLP/HTTP receiver that counts spans and keeps nothing.
type sink struct {
	url   string // its base
	spans atomic.Int64
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
	n, err2 := countSpans(body)
	if err := errors.Join(err, err2); err != nil || r.URL.Path != "/v1/traces" {
		http.Error(w, "not OTLP traces", http.StatusBadRequest)
		return
	}
	s.spans.Add(int64(n))
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty body is a valid response without content
}

func countSpans(body []byte) (n int, err error) {
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		return 0, err
	}
	for _, resource := range request.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			n += len(scope.Spans)
		}
	}
	return n, nil
}
