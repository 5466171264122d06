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
	"slices"
	"strconv"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"pace/proxy/transport"
)

// checkGRPC calls grpc.health.v1.Health/Check over HTTP/2 for the backend as a whole, as an attempt is sent. The check passes
// if the backend says SERVING.
func checkGRPC(ctx context.Context, r *Runner, c net.Conn) (status int, err error) {
	conns := r.connections(c, true)
	defer conns.Close()
	var resp transport.Response
	err = conns.Do(ctx, &transport.Request{
		Method: "POST", Target: healthpb.Health_Check_FullMethodName, Host: r.authority(),
		Fields: []byte("User-Agent: " + UserAgent + "\r\nContent-Type: application/grpc\r\n"), TrailersOK: true,
		Body: bytes.NewReader(wholeBackend), BodyReady: func() bool { return true }, ContentLength: -1,
	}, &resp)
	if err != nil {
		return 0, err
	}
	defer resp.Close()
	var body []byte
	for err == nil && len(body) <= maxMessage {
		var piece []byte
		piece, err = resp.Next()
		body = append(body, piece...)
	}
	if err != nil && err != io.EOF {
		return 0, err
	}
	return 0, serving(&resp.Head, body)
}

// wholeBackend is the message of the request: a frame without compression, of 0 bytes, which is a
// HealthCheckRequest with an empty name.
var wholeBackend = make([]byte, frameHeader)

const (
	frameHeader = 5 // bytes before a gRPC message: whether it is compressed, and its length
	maxMessage  = 1 << 10
)

// serving returns why a response with that body does not say that the backend serves; nil if it does.
func serving(resp *transport.Head, body []byte) error {
	if resp.Status != http.StatusOK {
		return transport.NewFault(fmt.Sprintf("status %d, expected 200 of gRPC", resp.Status))
	}
	code := ""
	for _, f := range slices.Concat(resp.Fields, resp.Trailer) { // a response may be only a trailer
		if f.Name == "Grpc-Status" {
			code = f.Value
		}
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
