package grpc

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"pace/e2e/pacetest"
)

// small are messages of 8 bytes.
type small struct{}

func (small) Marshal(v any) ([]byte, error)      { return v.([]byte), nil }
func (small) Unmarshal(data []byte, v any) error { *v.(*[]byte) = slices.Clone(data); return nil }
func (small) Name() string                       { return "small" }

var eightBytes = []byte("12345678")

// duplexOfSmall is a stream in both directions.
var duplexOfSmall = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

// rounds sends a message and waits for the same from the server, again and again.
func rounds(s grpc.ClientStream, until time.Time) (n int, err error) {
	for got := []byte(nil); time.Now().Before(until); n++ {
		if err := s.SendMsg(eightBytes); err != nil {
			return n, s.RecvMsg(&got)
		}
		if err := s.RecvMsg(&got); err != nil {
			return n, err
		}
	}
	return n, nil
}

// received asks for messages without an end, and reads them as fast as it can.
func received(s grpc.ClientStream, until time.Time) (n int, err error) {
	if err := s.SendMsg([]byte("endless!")); err != nil {
		return 0, err
	}
	for got := []byte(nil); time.Now().Before(until); n++ {
		if err := s.RecvMsg(&got); err != nil {
			return n, err
		}
	}
	return n, nil
}

// serveSmall echoes messages, and sends them in a row, each as soon as the client may have the last, if it is asked to.
func serveSmall(_ any, s grpc.ServerStream) error {
	for got := []byte(nil); ; {
		err := s.RecvMsg(&got)
		if err == io.EOF {
			return nil
		}
		for err == nil && string(got) == "endless!" {
			time.Sleep(20 * time.Microsecond)
			err = s.SendMsg(eightBytes)
		}
		if err == nil {
			err = s.SendMsg(got)
		}
		if err != nil {
			return err
		}
	}
}

// TestFloods_AreNotSmallMessages: grpc-go measures the way with PING and WINDOW_UPDATE for each message that it gets.
// That is no flood, however small the messages and however many.
func TestFloods_AreNotSmallMessages(t *testing.T) {
	t.Parallel()
	ca := pacetest.NewCA(t)
	backend := newSmall(t)
	c := overTLS(pacetest.Config{"upstreams": pacetest.Table{"backends": []string{"h2c://" + backend}}}, ca.Issue("pace.test"))
	c["listener.b"] = pacetest.Table{"listen": "127.0.0.1:0"}
	p := pacetest.Start(t, c)
	until := time.Now().Add(6 * time.Second)
	var all sync.WaitGroup
	for i, creds := range []credentials.TransportCredentials{credentials.NewTLS(&tls.Config{RootCAs: ca.Config("pace.test").RootCAs, ServerName: "pace.test"}), insecure.NewCredentials()} {
		for name, run := range map[string]func(grpc.ClientStream, time.Time) (int, error){"echo": rounds, "endless": received} {
			client, err := grpc.NewClient("passthrough:///"+p.Listeners[i], grpc.WithTransportCredentials(creds), grpc.WithDisableRetry(), grpc.WithDefaultCallOptions(grpc.ForceCodec(small{})))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { client.Close() })
			ctx, cancel := context.WithCancel(t.Context())
			t.Cleanup(cancel)
			stream, err := client.NewStream(ctx, duplexOfSmall, "/small/"+name)
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				n, err := run(stream, until)
				if err != nil {
					t.Errorf("%s, %s: the stream ended after %d messages: %v", creds.Info().SecurityProtocol, name, n, err)
				}
				t.Logf("%s, %s: %d messages", creds.Info().SecurityProtocol, name, n)
			})
		}
	}
	all.Wait()
	p.WantMetric(0, "pace_refused_total")
}

// newSmall serves [serveSmall] in clear text, and returns its address.
func newSmall(t *testing.T) string {
	s := grpc.NewServer(grpc.ForceServerCodec(small{}), grpc.UnknownServiceHandler(serveSmall))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}
