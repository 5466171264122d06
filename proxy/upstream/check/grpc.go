package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"pace/proxy/transport"
)

// checkGRPC calls grpc.health.v1.Health/Check over HTTP/2 for the backend as a whole. A connection over TLS is one in
// clear text for net/http, too. The check passes if the backend says SERVING.
func checkGRPC(ctx context.Context, r *Runner, c net.Conn) (status int, err error) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	t := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return c, nil },
		Protocols:              &protocols,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeader,
	}
	// A ClientConn sends a request once, whatever the backend does; a Transport alone would repeat it.
	conn, err := t.NewClientConn(ctx, "http", r.authority())
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.scheme()+"://"+r.authority()+healthpb.Health_Check_FullMethodName, bytes.NewReader(wholeBackend))
	if err != nil {
		return 0, err
	}
	req.Header = http.Header{"User-Agent": {UserAgent}, "Content-Type": {"application/grpc"}, "Te": {"trailers"}}
	resp, err := conn.RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil {
		return 0, err
	}
	return 0, serving(resp, body)
}

// wholeBackend is the message of the request: a frame without compression, of 0 bytes, which is a
// HealthCheckRequest with an empty name.
var wholeBackend = make([]byte, frameHeader)

const (
	frameHeader = 5 // bytes before a gRPC message: whether it is compressed, and its length
	maxMessage  = 1 << 10
)

// serving returns why a response with that body does not say that the backend serves; nil if it does.
func serving(resp *http.Response, body []byte) error {
	if resp.StatusCode != http.StatusOK {
		return transport.NewFault(fmt.Sprintf("status %d, expected 200 of gRPC", resp.StatusCode))
	}
	code := resp.Trailer.Get("Grpc-Status")
	if code == "" {
		code = resp.Header.Get("Grpc-Status") // of a response that is only a trailer
	}
	if n, err := strconv.ParseUint(code, 10, 8); err != nil {
		return errors.New("no grpc-status")
	} else if n != 0 {
		return transport.NewFault(fmt.Sprintf("grpc-status %d (%v)", n, codes.Code(n)))
	}
	said, err := readStatus(body)
	if err != nil {
		return err
	}
	if said != healthpb.HealthCheckResponse_SERVING {
		return transport.NewFault("the backend says " + said.String())
	}
	return nil
}

// readStatus reads the body of a response: one message, without compression.
func readStatus(body []byte) (healthpb.HealthCheckResponse_ServingStatus, error) {
	if len(body) < frameHeader || body[0] != 0 || int(binary.BigEndian.Uint32(body[1:])) != len(body)-frameHeader {
		return 0, errors.New("not one message of gRPC without compression")
	}
	var m healthpb.HealthCheckResponse
	if err := proto.Unmarshal(body[frameHeader:], &m); err != nil {
		return 0, err
	}
	return m.Status, nil
}
