package grpc

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/orca"
	"google.golang.org/grpc/status"

	"pace/e2e/pacetest"
)

// server is a backend that google.golang.org/grpc serves: gRPC's own test service, and what a test adds. It notes
// each call and its code.
type server struct {
	*grpc.Server
	address string
	health  *health.Server

	mu    sync.Mutex
	noted []string // guarded by mu
}

// newServer serves on an address, over TLS if there is a certificate.
func newServer(t *testing.T, address string, certificate *pacetest.Certificate, add ...func(*grpc.Server)) *server {
	t.Helper()
	s := &server{health: health.NewServer()}
	options := []grpc.ServerOption{
		orca.CallMetricsServerOption(nil),
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
			resp, err := handler(ctx, req)
			s.note(info.FullMethod, ctx, err)
			return resp, err
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			err := handler(srv, stream)
			s.note(info.FullMethod, stream.Context(), err)
			return err
		}),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error { return status.Error(codes.Unimplemented, "unknown") }),
	}
	if certificate != nil {
		creds, err := credentials.NewServerTLSFromFile(certificate.Cert, certificate.Key)
		if err != nil {
			t.Fatal(err)
		}
		options = append(options, grpc.Creds(creds))
	}
	s.Server = grpc.NewServer(options...)
	testpb.RegisterTestServiceServer(s.Server, interop.NewTestServer())
	healthpb.RegisterHealthServer(s.Server, s.health)
	for _, register := range add {
		register(s.Server)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s.address = listener.Addr().String()
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	return s
}

// note notes how a call ended. One whose client has cancelled ended so, whatever its handler returned.
func (s *server) note(method string, ctx context.Context, err error) {
	code := status.FromContextError(ctx.Err()).Code()
	if code == codes.OK {
		code = status.Code(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noted = append(s.noted, fmt.Sprintf("%s %d", method, code))
}

// calls returns what was noted so far: method and number of the code.
func (s *server) calls() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.noted)
}

// pool is an upstream of the server.
func (s *server) pool(ca *pacetest.CA, overTLS bool) pacetest.Table {
	if overTLS {
		return pacetest.Table{"backends": []string{"h2://" + s.address}, "tls": pacetest.Table{"ca": ca.File(), "server_name": "backend.test"}}
	}
	return pacetest.Table{"backends": []string{"h2c://" + s.address}}
}
