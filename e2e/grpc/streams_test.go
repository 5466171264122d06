package grpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"

	"pace/e2e/otlp"
	"pace/e2e/pacetest"
)

const duplex = "/grpc.testing.TestService/FullDuplexCall"

// open opens a stream in both directions.
func open(ctx context.Context, t *testing.T, c *grpc.ClientConn) testpb.TestService_FullDuplexCallClient {
	t.Helper()
	s, err := testpb.NewTestServiceClient(c).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// echo sends a message and receives one.
func echo(s testpb.TestService_FullDuplexCallClient) error {
	if err := s.Send(&testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}}}); err != nil {
		return err
	}
	_, err := s.Recv()
	return err
}

// TestSilence_EndsNoCall: neither that of the client before its first message, which the server waits for before it
// sends a header, nor that of both later.
func TestSilence_EndsNoCall(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	limit := "300ms"
	cfg := pacetest.Config{"upstream.u": s.pool(nil, false), "server": {"body_timeout": limit}}.WithRoutes(pacetest.Table{"match": "/", "upstream": "u"},
		pacetest.Table{"match": "/grpc.testing.TestService/StreamingOutputCall", "upstream": "u", "timeout": limit, "body_timeout": limit})
	cfg["upstream.u"] = cfg["upstream.u"].With("body_timeout", limit).With("response_timeout", limit)
	p, spans := pacetest.StartTraced(t, cfg)
	c := client(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	stream := open(ctx, t, c)
	for range 3 {
		time.Sleep(700 * time.Millisecond)
		if err := echo(stream); err != nil {
			t.Fatal(err)
		}
	}
	stream.CloseSend()
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("the stream ended as %v", err)
	}
	check(t, p, spans, duplex, wantOf(codes.OK))

	pause := &testpb.ResponseParameters{Size: 1, IntervalUs: 700_000}
	down, err := testpb.NewTestServiceClient(c).StreamingOutputCall(ctx, &testpb.StreamingOutputCallRequest{ResponseParameters: []*testpb.ResponseParameters{{Size: 1}, pause, pause}})
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, err := down.Recv(); err != nil {
			t.Fatalf("message %d: %v", n, err)
		}
	}
	if _, err := down.Recv(); err != io.EOF {
		t.Errorf("the stream ended as %v", err)
	}
	check(t, p, spans, "/grpc.testing.TestService/StreamingOutputCall", wantOf(codes.OK))
}

// TestEarlyStatus_DoesNotWaitForTheClient: the server ends the call while the client could still send.
func TestEarlyStatus_DoesNotWaitForTheClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	p := pacetest.Start(t, withoutEjection(pacetest.Config{"upstreams": s.pool(nil, false)}))
	c := client(t, p)
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	const wait = 25 * time.Millisecond // half of what pace would wait for the client
	fastest := pacetest.Patience
	for n := 0; n < 9 || fastest > wait && n < 100; n++ { // others use the machine, too
		stream := open(ctx, t, c)
		began := time.Now()
		if err := stream.Send(&testpb.StreamingOutputCallRequest{ResponseStatus: &testpb.EchoStatus{Code: int32(codes.Aborted), Message: "enough"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
			t.Fatalf("the stream ended as %v", err)
		}
		fastest = min(fastest, time.Since(began))
	}
	if fastest > wait {
		t.Errorf("the status took %v or longer", fastest)
	}
}

// TestDeadline_EndsAStream, too, whose messages flow. One whose request was on its way to pace for long has left pace
// less than its client's time.
func TestDeadline_EndsAStream(t *testing.T) {
	t.Parallel()
	for range 10 {
		if endAtDeadline(t, time.Second) {
			return
		}
	}
	t.Error("none of 10 streams was at pace in time")
}

// withoutClock is the configuration of a pace whose server knows of no deadline, and so is never the first to notice.
func withoutClock(s *server) pacetest.Config {
	return pacetest.Config{"upstream.u": s.pool(nil, false)}.WithRoutes(
		pacetest.Table{"match": "/", "upstream": "u", "request_headers": pacetest.Table{"remove": []string{"Grpc-Timeout"}}})
}

// endAtDeadline opens a stream that ends at its deadline, and reports whether it was at pace in time.
func endAtDeadline(t *testing.T, deadline time.Duration) (inTime bool) {
	t.Helper()
	s := newServer(t, "127.0.0.1:0", nil)
	p, spans := pacetest.StartTraced(t, withoutClock(s))
	conn := client(t, p)
	connect(t, conn) // before the client's clock runs, or pace's is much later
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	stream := open(ctx, t, conn)
	var err error
	for err == nil {
		err = echo(stream)
		time.Sleep(20 * time.Millisecond)
	}
	if err == io.EOF { // of Send: Recv says why
		_, err = stream.Recv()
	}
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("the stream ended as %v", err)
	}
	if took, _ := p.WantAccess(duplex)["duration_ms"].(float64); took < float64((deadline - 20*time.Millisecond).Milliseconds()) {
		return false
	}
	check(t, p, spans, duplex, deadlineExceeded)
	return true
}

// TestLost_BackendOfAStreamEndsItWithACode. The client learns that it was the network, which a reset would not say.
func TestLost_BackendOfAStreamEndsItWithACode(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	p, spans := pacetest.StartTraced(t, pacetest.Config{"upstreams": s.pool(nil, false)})
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	stream := open(ctx, t, client(t, p))
	if err := echo(stream); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	_, err := stream.Recv()
	if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "upstream_truncated") {
		t.Errorf("the stream ended as %v", err)
	}
	check(t, p, spans, duplex, want{codes.Unavailable, "UNAVAILABLE", "upstream_truncated", "backend", "error", 0, true})
}

// TestDrain_EndsAStreamThatTakesTooLong with a code because of which clients try elsewhere.
func TestDrain_EndsAStreamThatTakesTooLong(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	p, spans := pacetest.StartTraced(t, pacetest.Config{"upstreams": s.pool(nil, false), "server": {"drain_timeout": "300ms"}})
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	stream := open(ctx, t, client(t, p))
	if err := echo(stream); err != nil {
		t.Fatal(err)
	}
	p.Signal(syscall.SIGTERM)
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "drain_timeout") {
		t.Errorf("the stream ended as %v", err)
	}
	p.Wait()
	check(t, p, spans, duplex, want{codes.Unavailable, "UNAVAILABLE", "drain_timeout", "pace", "error", 0, true})
}

// TestPings_AreAnswered while a call goes on, as those of a client with keepalive.
func TestPings_AreAnswered(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	p := pacetest.Start(t, pacetest.Config{"upstreams": s.pool(nil, false)})
	w := p.H2Wire()
	w.Headers(1, false, pacetest.H2Request("POST", duplex, "content-type", "application/grpc", "te", "trailers")...)
	for range 20 {
		if err := w.Alive(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Framer.WriteData(1, true, nil); err != nil {
		t.Fatal(err)
	}
	got := w.Response(1)
	if got.Status != 200 || got.Trailer.Get("Grpc-Status")+got.Header.Get("Grpc-Status") != "0" {
		t.Errorf("the client got %v, trailer %v", got.Header, got.Trailer)
	}
	if line := p.WantAccess(duplex); line.Text("outcome") != "ok" || line.Int("grpc_status") != 0 {
		t.Errorf("the log says %v", line)
	}
}

// TestRestart_OfOneOfTwoBackends: clients go on calling, and what they and the servers have noted is what pace says.
func TestRestart_OfOneOfTwoBackends(t *testing.T) {
	t.Parallel()
	one, two := newServer(t, "127.0.0.1:0", nil), newServer(t, "127.0.0.1:0", nil)
	p, spans := pacetest.StartTraced(t, pacetest.Config{"upstreams": {"backends": []string{"h2c://" + one.address, "h2c://" + two.address}}})
	over, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var mu sync.Mutex
	got := map[codes.Code]int{} // guarded by mu
	for n := range 6 {
		c := testpb.NewTestServiceClient(client(t, p))
		clients.Go(func() {
			for over.Err() == nil {
				ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
				var err error
				if n%2 == 0 {
					_, err = c.UnaryCall(ctx, &testpb.SimpleRequest{ResponseSize: 100})
				} else {
					err = stream(ctx, c)
				}
				cancel()
				mu.Lock()
				got[status.Code(err)]++
				mu.Unlock()
			}
		})
	}
	servers := []*server{one, two}
	for n := range 4 {
		time.Sleep(400 * time.Millisecond)
		if n%2 == 0 {
			two.Stop()
		} else {
			two.GracefulStop()
		}
		time.Sleep(200 * time.Millisecond)
		two = newServer(t, two.address, nil)
		servers = append(servers, two)
	}
	time.Sleep(400 * time.Millisecond)
	stop()
	clients.Wait()
	total, served := 0, 0
	for _, n := range got {
		total += n
	}
	for _, s := range servers {
		for _, call := range s.calls() {
			if strings.HasSuffix(call, " 0") {
				served++
			}
		}
	}
	said := map[codes.Code]int{}
	pacetest.Eventually(t, func() error {
		clear(said)
		for _, line := range p.Lines("request") {
			if (line.Text("outcome") == "ok") != (line.Int("grpc_status") == 0) {
				t.Errorf("the log says %v", line)
			}
			said[codes.Code(line.Int("grpc_status"))]++
		}
		if fmt.Sprint(said) != fmt.Sprint(got) {
			return fmt.Errorf("the log says %v, the clients got %v", said, got)
		}
		return nil
	})
	t.Logf("%d calls: %v; the servers served %d", total, got, served)
	if got[codes.OK] < total*9/10 || served < got[codes.OK] {
		t.Errorf("of %d calls %v; the servers served %d", total, got, served)
	}
	for code, n := range got {
		if code != codes.OK && code != codes.Unavailable {
			t.Errorf("%d calls ended with %v", n, code)
		}
	}
	p.WantMetric(float64(total), "pace_requests_total")
	spans.Wait(func([]otlp.Span) bool { return pacetest.Count(spans, otlp.Server) >= total })
}

// stream makes a call of three messages each way.
func stream(ctx context.Context, c testpb.TestServiceClient) error {
	s, err := c.FullDuplexCall(ctx)
	if err != nil {
		return err
	}
	for range 3 {
		if err := echo(s); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	s.CloseSend()
	if _, err := s.Recv(); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// TestTimeout_EndsAStreamOfASilentClient that has no clock of its own, as the server has none: pace's deadline ends it with a trailer, and the
// server with CANCEL.
func TestTimeout_EndsAStreamOfASilentClient(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	p, spans := pacetest.StartTraced(t, withoutClock(s))
	body, w := pacetest.Pipe()
	defer w.Close()
	req := p.Request("POST", duplex, "", "Content-Type", "application/grpc", "Te", "trailers", "Grpc-Timeout", "3S") // in time for a message, on a busy machine, too
	req.Body = body
	go w.Write([]byte("\x00\x00\x00\x00\x04\x12\x02\x08\x01")) // a StreamingOutputCallRequest for one byte
	got := pacetest.Do(pacetest.H2C.Client(t), req)
	if got.Status != 200 || got.Err != nil || got.Body == "" || got.Trailer.Get("Grpc-Status") != "4" {
		t.Errorf("the client got %+v", got)
	}
	check(t, p, spans, duplex, deadlineExceeded)
	pacetest.Eventually(t, func() error {
		if calls := s.calls(); !slices.Equal(calls, []string{duplex + " 1"}) {
			return fmt.Errorf("the server noted %v", calls)
		}
		return nil
	})
}

// TestDrain_OfABackendEndsItsStreams when their time is up.
func TestDrain_OfABackendEndsItsStreams(t *testing.T) {
	t.Parallel()
	s := newServer(t, "127.0.0.1:0", nil)
	cfg := pacetest.Config{"upstreams": s.pool(nil, false).With("drain_streams", "3s")} // pace drain is a process of its own, which may take its time
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg["admin"] = pacetest.Table{"listen": fmt.Sprintf("127.0.0.1:%d", pacetest.NewClosed(t).Port()), "token_file": token}
	p := pacetest.Start(t, cfg)
	ctx, cancel := context.WithTimeout(t.Context(), pacetest.Patience)
	defer cancel()
	stream := open(ctx, t, client(t, p))
	if err := echo(stream); err != nil {
		t.Fatal(err)
	}
	if got := pacetest.Exec(t, ".", nil, "drain", "default", s.address, "--config", p.File); got.Code != 0 {
		t.Fatalf("pace drain: %q, %q", got.Stdout, got.Stderr)
	}
	if err := echo(stream); err != nil {
		t.Errorf("the stream has no time: %v", err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "drain_timeout") {
		t.Errorf("the stream ended as %v", err)
	}
	if line := p.WantAccess(duplex); line.Text("outcome") != "drain_timeout" || line.Int("grpc_status") != 14 {
		t.Errorf("the log says %v", line)
	}
}
