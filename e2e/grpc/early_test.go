package grpc

import (
	"context"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"pace/e2e/pacetest"
)

// TestTrailersOnly_WhileTheClientCanStillSend: to a client, a header without the end of the stream has no status.
func TestTrailersOnly_WhileTheClientCanStillSend(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	chunked := pacetest.NewBackend(t, func(x *pacetest.Exchange) {
		x.Write("HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nGrpc-Status: 12\r\nGrpc-Message: unknown\r\nTransfer-Encoding: chunked\r\n\r\n")
		x.Write("0\r\n\r\n")
		x.AwaitClose()
	})
	for _, pool := range []pacetest.Table{s.pool(nil, false), pacetest.Upstreams(chunked)} {
		p := pacetest.Start(t, withoutEjection(pacetest.Config{"upstreams": pool}))
		ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
		defer cancel()
		stream, err := client(t, p).NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/test.Nowhere/M")
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(&emptypb.Empty{}); status.Code(err) != codes.Unimplemented || status.Convert(err).Message() != "unknown" {
			t.Errorf("the stream ended as %v", err)
		}
		if line := p.WantAccess("/test.Nowhere/M"); line.Int("grpc_status") != 12 {
			t.Errorf("the log says %v", line)
		}
	}
}
