package check

import (
	"encoding/binary"
	"testing"

	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/encoding/protowire"
)

// FuzzReadStatus holds readStatus to a reading of the bytes by hand: the message is one frame without compression,
// and field 1, a varint, is the status; of several, the last counts. readStatus may be stricter.
func FuzzReadStatus(f *testing.F) {
	for _, body := range []string{framed("\x08\x01"), framed(""), framed("\x08\x01\x08\x02"), framed("\x0a\x01\x01"), "\x01", framed("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := readStatus(body)
		want, ok := byHand(body)
		if err == nil && (!ok || got != want) {
			t.Errorf("%q: got %v, %v; want %v, %v", body, got, err, want, ok)
		}
	})
}

func byHand(body []byte) (status healthpb.HealthCheckResponse_ServingStatus, ok bool) {
	if len(body) < 5 || body[0] != 0 || uint64(binary.BigEndian.Uint32(body[1:5])) != uint64(len(body)-5) {
		return 0, false
	}
	for rest := body[5:]; len(rest) > 0; {
		field, kind, n := protowire.ConsumeField(rest)
		if n < 0 {
			return 0, false
		}
		if field == 1 && kind == protowire.VarintType {
			_, _, tag := protowire.ConsumeTag(rest)
			v, _ := protowire.ConsumeVarint(rest[tag:])
			status = healthpb.HealthCheckResponse_ServingStatus(int32(v))
		}
		rest = rest[n:]
	}
	return status, true
}
