package traces

import (
	"bytes"
	"encoding/binary"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"pace/telemetry/environment"
	"pace/telemetry/otlp"
)

// newPartial starts a collector, over both protocols, that answers each request with a partial success.
func newPartial(t *testing.T, rejected int64, message string) (url string) {
	t.Helper()
	response, err := proto.Marshal(&collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: rejected, ErrorMessage: message},
	})
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		if r.ProtoMajor == 1 {
			w.Header().Set("Content-Type", "application/x-protobuf")
			w.Write(response)
			return
		}
		// gRPC's frame: not compressed, of this length.
		w.Header().Set("Content-Type", "application/grpc")
		w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(response))), response...))
		w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

// A collector that takes a part of a batch costs what it rejects, to the span; its words are logged.
func TestQueue_CountsWhatIsRejected(t *testing.T) {
	for name, tt := range map[string]struct {
		rejected int64
		message  string
		dropped  int64 // of 7
		says     string
	}{
		"a few":                    {3, "too old", 3, "level=WARN msg=\"spans are being lost"},
		"a few, without a word":    {3, "", 3, "level=WARN msg=\"spans are being lost"},
		"all":                      {7, "too old", 7, "level=WARN msg=\"spans are being lost"},
		"more than there were":     {8, "cannot count", 7, "level=WARN msg=\"spans are being lost"},
		"less than none":           {-1, "cannot count", 0, "level=WARN msg=\"the collector takes spans, but warns"},
		"none, but with a warning": {0, "soon too old", 0, "level=WARN msg=\"the collector takes spans, but warns"},
		"none, and nothing to say": {0, "", 0, ""},
	} {
		for _, protocol := range otlp.Protocols {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				clearEnvironment(t)
				e, err := NewExporter(environment.Read(), newPartial(t, tt.rejected, tt.message), protocol)
				if err != nil {
					t.Fatal(err)
				}
				var log bytes.Buffer
				q := newQueue(e, slog.New(slog.NewTextHandler(&log, nil)))
				q.put(ended(6))
				q.shutdown(t.Context())
				wantDropped(t, q, 0, tt.dropped, 0)
				if got := log.String(); !strings.Contains(got, tt.says) || !strings.Contains(got, tt.message) || tt.says == "" && got != "" {
					t.Errorf("logged %q, want %q with %q", got, tt.says, tt.message)
				}
			})
		}
	}
}
