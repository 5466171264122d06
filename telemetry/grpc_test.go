package telemetry

import (
	"testing"

	"google.golang.org/grpc/codes"
)

// The names of the codes are those of gRPC's own list. Its package writes them otherwise, but reads these.
func TestGRPCCodes_AreThoseOfTheLibrary(t *testing.T) {
	all := GRPCCodes()
	if len(all) != 17 {
		t.Fatalf("%d codes", len(all))
	}
	for n, c := range all {
		var library codes.Code
		if err := library.UnmarshalJSON([]byte(`"` + c.String() + `"`)); err != nil || int(library) != n || c.Number() != n || GRPCCodeOf(n) != c {
			t.Errorf("code %d is %s with the number %d, of which the library says %v, %v", n, c, c.Number(), library, err)
		}
	}
	for _, unknown := range []int{-1, 17, 18, 255, 256, 1 << 30} {
		if got := GRPCCodeOf(unknown); got != GRPCUnknown {
			t.Errorf("%d is %s", unknown, got)
		}
	}
}

func TestGRPCCodes_HaveTheOutcomesOfTheInterface(t *testing.T) {
	upstream := map[int]bool{2: true, 4: true, 12: true, 13: true, 14: true, 15: true}
	for n, c := range GRPCCodes() {
		want := ClientError
		switch {
		case n == 0:
			want = OK
		case upstream[n]:
			want = UpstreamError
		}
		if got := c.Info().Outcome; got != want || c.Faulty() != (want == UpstreamError) {
			t.Errorf("%d %s: got %s, faulty: %t, want %s", n, c, got, c.Faulty(), want)
		}
	}
}

// Each outcome with which pace itself responds has a code, and it is never OK.
func TestGRPC_OfPacesOwnResponses(t *testing.T) {
	want := map[Outcome]GRPCCode{
		NoRoute: GRPCUnimplemented, RateLimited: GRPCResourceExhausted, Forbidden: GRPCPermissionDenied,
		UpstreamTimeout: GRPCDeadlineExceeded, ConnectTimeout: GRPCDeadlineExceeded, RouteTimeout: GRPCDeadlineExceeded, RequestTimeout: GRPCDeadlineExceeded,
		ConnectFailed: GRPCUnavailable, DNSFailed: GRPCUnavailable, NoBackend: GRPCUnavailable, Draining: GRPCUnavailable, DrainTimeout: GRPCUnavailable,
		BadRequest: GRPCInternal, TooLarge: GRPCInternal, InternalError: GRPCInternal, UpstreamInvalid: GRPCInternal, MethodNotAllowed: GRPCInternal,
	}
	for o, code := range want {
		if got := o.GRPC(); got != code {
			t.Errorf("%s: got %s, want %s", o, got, code)
		}
	}
	for o := OK; o < OutcomeCount; o++ {
		if o.GRPC() <= GRPCOK {
			t.Errorf("%s has the code %s", o, o.GRPC())
		}
	}
}
