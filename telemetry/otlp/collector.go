package otlp

import (
	"cmp"
	"fmt"
	"net/url"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"pace/telemetry/environment"
)

// Protocols are the words for tracing.protocol.
var Protocols = []string{grpcProtocol, httpProtocol}

const (
	grpcProtocol = "grpc"
	httpProtocol = "http/protobuf"
)

// Collector is where a signal goes.
type Collector struct {
	Protocol string // one of [Protocols]
	URL      string // "": the variables that the library's exporters read name it, or else its default
}

// CollectorOf returns where the environment says that a signal goes, or else the file's endpoint and protocol.
func CollectorOf(s environment.Signal, endpoint, protocol string) (Collector, error) {
	c := Collector{Protocol: cmp.Or(s.Protocol, protocol)}
	switch {
	case c.Protocol != grpcProtocol && c.Protocol != httpProtocol:
		return c, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: unknown protocol %q; write %s", c.Protocol, strings.Join(Protocols, " or "))
	case s.Endpoint != "" || endpoint == "":
		return c, nil // the exporter reads the variables itself
	case !strings.Contains(endpoint, "://"):
		endpoint = "http://" + endpoint
	}
	c.URL = endpoint
	if c.Protocol == httpProtocol {
		c.URL = withPath(endpoint, s.Path)
	}
	return c, nil
}

// OverGRPC reports whether the protocol is gRPC; else it is HTTP.
func (c Collector) OverGRPC() bool { return c.Protocol == grpcProtocol }

// Reconnect makes gRPC look for a collector that is gone as often as a [Delivery] sends again. By itself it waits
// longer and longer, up to two minutes, during which a collector that is back would get nothing.
func Reconnect() grpc.DialOption {
	pauses := backoff.DefaultConfig
	pauses.MaxDelay = longestPause
	return grpc.WithConnectParams(grpc.ConnectParams{Backoff: pauses, MinConnectTimeout: connectTimeout})
}

// connectTimeout limits the time to connect to a collector, as gRPC does by itself.
const connectTimeout = 20 * time.Second

// tracesPath is the path for traces: a file may name it, because its endpoint was that of traces first.
const tracesPath = "/v1/traces"

// withPath adds the signal's path to a collector's address. Without it, the exporter would post to /. If the
// address has a path already, that is the one of traces.
func withPath(endpoint, path string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return endpoint
	}
	if strings.Trim(u.Path, "/") != "" {
		if path == tracesPath {
			return endpoint
		}
		u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), tracesPath)
	}
	return u.JoinPath(path).String()
}
