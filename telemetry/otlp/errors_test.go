package otlp

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pace/telemetry/environment"
)

// senders send something small over one protocol, each with the library's exporter of its signal, once. The
// exporter of spans is in telemetry/traces, and is tested there.
var senders = map[string]func(t *testing.T, url, protocol string) func(context.Context) error{
	"metrics": func(t *testing.T, url, protocol string) func(context.Context) error {
		t.Setenv("OTEL_METRICS_EXPORTER", "otlp")
		e, err := NewMetricExporter(environment.Read(), url, protocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Shutdown(context.Background()) })
		return func(ctx context.Context) error { return e.Export(ctx, new(metricdata.ResourceMetrics)) }
	},
	"logs": func(t *testing.T, url, protocol string) func(context.Context) error {
		t.Setenv("OTEL_LOGS_EXPORTER", "otlp")
		e, err := NewLogExporter(environment.Read(), url, protocol)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Shutdown(context.Background()) })
		return func(ctx context.Context) error { return e.Export(ctx, make([]sdklog.Record, 1)) }
	},
}

// clearEnvironment takes away what the test's own surroundings may say.
func clearEnvironment(t *testing.T) {
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "OTEL_") {
			t.Setenv(name, "")
		}
	}
}

// collector serves HTTP/1.1 and gRPC with one handler.
func collector(t *testing.T, h http.HandlerFunc) (url string) {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		h(w, r)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.URL
}

func TestRetryable_OverHTTP(t *testing.T) {
	for signal, sender := range senders {
		for _, tt := range []struct {
			status int
			header string
			again  bool
			asked  time.Duration
		}{
			{429, "7", true, 7 * time.Second}, {502, "", true, 0}, {503, "120", true, 2 * time.Minute}, {504, "", true, 0},
			{503, "nonsense", true, 0}, {503, "-3", true, 0},
			{400, "7", false, 0}, {401, "", false, 0}, {404, "", false, 0}, {408, "", false, 0}, {413, "", false, 0}, {500, "7", false, 0},
		} {
			t.Run(fmt.Sprintf("%s: a %d with Retry-After %q", signal, tt.status, tt.header), func(t *testing.T) {
				clearEnvironment(t)
				url := collector(t, func(w http.ResponseWriter, _ *http.Request) {
					if tt.header != "" {
						w.Header().Set("Retry-After", tt.header)
					}
					w.WriteHeader(tt.status)
				})
				err := sender(t, url, httpProtocol)(t.Context())
				if again, asked := retryable(err); err == nil || again != tt.again || asked != tt.asked {
					t.Errorf("%v: again %v after %v, want %v after %v", err, again, asked, tt.again, tt.asked)
				}
			})
		}
	}
}

// A collector that is not there, or breaks its connection, may come back. One that has been understood and
// responds with nonsense will do so again.
func TestRetryable_WithoutAResponse(t *testing.T) {
	for signal, sender := range senders {
		for _, protocol := range Protocols {
			t.Run(signal+" over "+protocol, func(t *testing.T) {
				clearEnvironment(t)
				gone := httptest.NewServer(nil)
				gone.Close()
				aborts := collector(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
				for what, url := range map[string]string{"gone": gone.URL, "aborts": aborts} {
					ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
					defer cancel()
					err := sender(t, url, protocol)(ctx)
					again, _ := retryable(err)
					if want := what == "gone" || protocol == httpProtocol; again != want && status.Code(err) != codes.Internal {
						t.Errorf("%s: %v: again %v, want %v", what, err, again, want)
					}
				}
			})
		}
	}
}

func TestRetryable_OverGRPC(t *testing.T) {
	later := map[codes.Code]bool{
		codes.Canceled: true, codes.DeadlineExceeded: true, codes.Aborted: true, codes.OutOfRange: true, codes.Unavailable: true, codes.DataLoss: true,
	}
	for code := codes.OK + 1; code <= codes.Unauthenticated; code++ {
		if again, _ := retryable(status.Error(code, "x")); again != later[code] {
			t.Errorf("%v: again %v, want %v", code, again, later[code])
		}
	}
}

// A partial success of each signal and protocol is found in the library's error. Its first field has the same
// type and number in all signals.
func TestAsPartial(t *testing.T) {
	response, err := proto.Marshal(&collectorpb.ExportTraceServiceResponse{
		PartialSuccess: &collectorpb.ExportTracePartialSuccess{RejectedSpans: 3, ErrorMessage: "too old"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for signal, sender := range senders {
		for _, protocol := range Protocols {
			t.Run(signal+" over "+protocol, func(t *testing.T) {
				clearEnvironment(t)
				url := collector(t, func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor == 1 {
						w.Header().Set("Content-Type", "application/x-protobuf")
						w.Write(response)
						return
					}
					// gRPC's frame: not compressed, of this length.
					w.Header().Set("Content-Type", "application/grpc")
					w.Write(append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(response))), response...))
					w.Header().Set(http.TrailerPrefix+"Grpc-Status", "0")
				})
				err := asPartial(sender(t, url, protocol)(t.Context()))
				if p, ok := err.(*PartialSuccess); !ok || p.Rejected != 3 || !strings.Contains(p.Error(), "too old") {
					t.Errorf("got %#v, want a partial success", err)
				}
				if again, _ := retryable(err); again {
					t.Error("it is sent again")
				}
			})
		}
	}
}

func TestCollectorOf(t *testing.T) {
	signal := func(path string) environment.Signal { return environment.Signal{Path: path} }
	for _, tt := range []struct {
		name     string
		of       environment.Signal
		endpoint string
		protocol string
		want     Collector
	}{
		{"nothing named", signal("/v1/logs"), "", grpcProtocol, Collector{grpcProtocol, ""}},
		{"an address, over gRPC", signal("/v1/logs"), "a:1", grpcProtocol, Collector{grpcProtocol, "http://a:1"}},
		{"an address, over HTTP", signal("/v1/logs"), "a:1", httpProtocol, Collector{httpProtocol, "http://a:1/v1/logs"}},
		{"a path of traces is not that of another signal", signal("/v1/metrics"), "https://a:1/x/v1/traces", httpProtocol, Collector{httpProtocol, "https://a:1/x/v1/metrics"}},
		{"a path of traces is theirs to the letter", signal("/v1/traces"), "http://a:1/mine", httpProtocol, Collector{httpProtocol, "http://a:1/mine"}},
		{"another path is a prefix for other signals", signal("/v1/logs"), "http://a:1/mine/", httpProtocol, Collector{httpProtocol, "http://a:1/mine/v1/logs"}},
		{"the environment goes before the file", environment.Signal{Endpoint: "http://b:1", Protocol: grpcProtocol}, "a:1", httpProtocol, Collector{grpcProtocol, ""}},
	} {
		if got, err := CollectorOf(tt.of, tt.endpoint, tt.protocol); err != nil || got != tt.want {
			t.Errorf("%s: got %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	if _, err := CollectorOf(environment.Signal{Protocol: "http/json"}, "", grpcProtocol); err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL") {
		t.Errorf("got %v, want it to name the variable", err)
	}
}
