package grpc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

// cases are those of gRPC's interop tests that need no credentials of a cloud and no load balancer in the client.
// (orca_oob needs a server that reports more often than once in 30 s, which the library allows only itself.)
var cases = map[string]func(context.Context, *grpc.ClientConn, testpb.TestServiceClient){
	"empty_unary": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoEmptyUnaryCall(ctx, c)
	},
	"large_unary": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoLargeUnaryCall(ctx, c)
	},
	"client_streaming": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoClientStreaming(ctx, c)
	},
	"server_streaming": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoServerStreaming(ctx, c)
	},
	"ping_pong": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) { interop.DoPingPong(ctx, c) },
	"empty_stream": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoEmptyStream(ctx, c)
	},
	"timeout_on_sleeping_server": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoTimeoutOnSleepingServer(ctx, c)
	},
	"cancel_after_begin": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoCancelAfterBegin(ctx, c)
	},
	"cancel_after_first_response": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoCancelAfterFirstResponse(ctx, c)
	},
	"custom_metadata": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoCustomMetadata(ctx, c)
	},
	"status_code_and_message": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoStatusCodeAndMessage(ctx, c)
	},
	"special_status_message": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoSpecialStatusMessage(ctx, c)
	},
	"orca_per_rpc": func(ctx context.Context, _ *grpc.ClientConn, c testpb.TestServiceClient) {
		interop.DoORCAPerRPCTest(ctx, c)
	},
	"unimplemented_method": func(ctx context.Context, cc *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedMethod(ctx, cc)
	},
	"unimplemented_service": func(ctx context.Context, cc *grpc.ClientConn, _ testpb.TestServiceClient) {
		interop.DoUnimplementedService(ctx, testpb.NewUnimplementedServiceClient(cc))
	},
}

// The variables that tell a child process which case to run, at which address, and whose CA to trust ("": in clear text).
const caseVar, addressVar, trustVar = "INTEROP_CASE", "INTEROP_ADDRESS", "INTEROP_TRUST"

// TestCase runs one case; a case that fails ends its process.
func TestCase(t *testing.T) {
	run := cases[os.Getenv(caseVar)]
	if run == nil {
		t.Skip("of a child process")
	}
	creds := insecure.NewCredentials()
	if file := os.Getenv(trustVar); file != "" {
		var err error
		if creds, err = credentials.NewClientTLSFromFile(file, "pace.test"); err != nil {
			t.Fatal(err)
		}
	}
	config := `{}`
	if os.Getenv(caseVar) == "orca_per_rpc" {
		config = `{"loadBalancingConfig":[{"test_backend_metrics_load_balancer":{}}]}`
	}
	cc, err := grpc.NewClient("passthrough:///"+os.Getenv(addressVar), grpc.WithTransportCredentials(creds), grpc.WithDefaultServiceConfig(config))
	if err != nil {
		t.Fatal(err)
	}
	defer cc.Close()
	run(t.Context(), cc, testpb.NewTestServiceClient(cc))
}

// runCase runs a case in a child process.
func runCase(t *testing.T, name, address, trust string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	child := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestCase$", "-test.v")
	child.Env = append(os.Environ(), caseVar+"="+name, addressVar+"="+address, trustVar+"="+trust, "GRPC_GO_LOG_SEVERITY_LEVEL=error")
	out, err := child.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestCase") {
		t.Errorf("%s: %v\n%s", name, err, out)
	}
}

// TestInterop passes all cases through pace, and compares what it says of each call with what the server has noted.
func TestInterop(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name        string
		front, back bool // whether there is TLS
	}{{"h2c to h2c", false, false}, {"TLS to h2c", true, false}, {"h2c to TLS", false, true}, {"TLS to TLS", true, true}} {
		t.Run(way.name, func(t *testing.T) {
			t.Parallel()
			ca := pacetest.NewCA(t)
			s := newServer(t, "127.0.0.1:0", certificateIf(way.back, ca, "backend.test"))
			cfg := pacetest.Config{"upstreams": s.pool(ca, way.back)}
			cfg["upstreams.ejection"] = pacetest.Table{"enabled": false}
			trust := ""
			if way.front {
				cfg, trust = overTLS(cfg, ca.Issue("pace.test")), ca.File()
			}
			p, spans := pacetest.StartTraced(t, cfg)
			for name := range cases {
				runCase(t, name, p.Proxy, trust)
			}
			compare(t, p, spans, s.calls)
		})
	}
}

func certificateIf(wanted bool, ca *pacetest.CA, name string) *pacetest.Certificate {
	if !wanted {
		return nil
	}
	c := ca.Issue(name)
	return &c
}

func overTLS(c pacetest.Config, certificate pacetest.Certificate) pacetest.Config {
	c["listener.a"] = pacetest.Table{"listen": "127.0.0.1:0", "tls": true}
	c["certificate[0]"] = certificate.Table()
	return c
}

// compare holds pace's lines, counters and spans to what the servers have noted: each call once, with its code.
func compare(t *testing.T, p *pacetest.Pace, spans *otlp.Recv, calls func() []string) {
	t.Helper()
	var differ string
	err := pacetest.Soon(func() error {
		lines := p.Lines("request")
		if differ = difference(lines, calls()); differ != "" {
			return errors.New(differ)
		}
		m := p.Metrics()
		if n, open := m.Sum("pace_requests_total"), m.Sum("http_server_active_requests"); n != float64(len(lines)) || open != 0 {
			differ = fmt.Sprintf("%d lines of %v requests, and %v in flight", len(lines), n, open)
			return errors.New(differ)
		}
		return nil
	})
	if err != nil {
		t.Error(differ)
	}
	n := len(p.Lines("request"))
	p.WantMetric(float64(n), "pace_requests_total")
	spans.Wait(func([]otlp.Span) bool { return pacetest.Count(spans, otlp.Server) >= n })
	if got := pacetest.Count(spans, otlp.Server); got != n {
		t.Errorf("%d SERVER spans of %d calls", got, n)
	}
}

// cancelled stands for the codes of a call that its client ended, or its deadline: which of the two, client, pace and
// server may each see first.
const cancelled = "cancelled"

// difference says where lines and calls differ; "": nowhere. A call whose client left may have ended before it came to
// a server, or the server ended it meanwhile.
func difference(lines []pacetest.Line, noted []string) string {
	for i, call := range noted {
		method, code, _ := strings.Cut(call, " ")
		if code == "1" || code == "4" {
			noted[i] = method + " " + cancelled
		}
	}
	var missing, left []string
	for _, line := range lines {
		code := line.Text("grpc_status")
		switch line.Text("outcome") {
		case "client_gone", "client_aborted", "upstream_timeout":
			code = cancelled
		}
		call := line.Text("path") + " " + code
		if i := slices.Index(noted, call); i >= 0 {
			noted = slices.Delete(noted, i, i+1)
		} else if code != cancelled {
			missing = append(missing, call)
		} else {
			left = append(left, line.Text("path")+" ")
		}
	}
	for _, method := range left { // the server may have ended the call, while its client left
		if i := slices.IndexFunc(noted, func(call string) bool { return strings.HasPrefix(call, method) }); i >= 0 {
			noted = slices.Delete(noted, i, i+1)
		}
	}
	if len(missing)+len(noted) == 0 {
		return ""
	}
	return fmt.Sprintf("pace has these calls, and no server noted them: %v; servers noted these, and pace does not have them: %v", missing, noted)
}
