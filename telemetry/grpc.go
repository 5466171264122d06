package telemetry

// GRPCCode is the status code of a gRPC call. The zero value is that there is none: the request is no gRPC call,
// or no code is known. The value of a code is its number and 1.
type GRPCCode uint8

// The codes of gRPC (github.com/grpc/grpc, doc/statuscodes.md), in the order of their numbers.
const (
	NoGRPCCode GRPCCode = iota
	GRPCOK
	GRPCCancelled
	GRPCUnknown
	GRPCInvalidArgument
	GRPCDeadlineExceeded
	GRPCNotFound
	GRPCAlreadyExists
	GRPCPermissionDenied
	GRPCResourceExhausted
	GRPCFailedPrecondition
	GRPCAborted
	GRPCOutOfRange
	GRPCUnimplemented
	GRPCInternal
	GRPCUnavailable
	GRPCDataLoss
	GRPCUnauthenticated
	GRPCCodeCount
)

// GRPCCodeInfo is the row of one code in the table.
type GRPCCodeInfo struct {
	Name    string
	Outcome Outcome // of a call that a backend ended with it
}

// grpcCodes is the table of the codes. The outcomes are those of the interface; they agree with the semantic
// conventions of OpenTelemetry, by which a server's span is an error for the same codes.
var grpcCodes = [GRPCCodeCount]GRPCCodeInfo{
	NoGRPCCode:             {"", Unset},
	GRPCOK:                 {"OK", OK},
	GRPCCancelled:          {"CANCELLED", ClientError},
	GRPCUnknown:            {"UNKNOWN", UpstreamError},
	GRPCInvalidArgument:    {"INVALID_ARGUMENT", ClientError},
	GRPCDeadlineExceeded:   {"DEADLINE_EXCEEDED", UpstreamError},
	GRPCNotFound:           {"NOT_FOUND", ClientError},
	GRPCAlreadyExists:      {"ALREADY_EXISTS", ClientError},
	GRPCPermissionDenied:   {"PERMISSION_DENIED", ClientError},
	GRPCResourceExhausted:  {"RESOURCE_EXHAUSTED", ClientError},
	GRPCFailedPrecondition: {"FAILED_PRECONDITION", ClientError},
	GRPCAborted:            {"ABORTED", ClientError},
	GRPCOutOfRange:         {"OUT_OF_RANGE", ClientError},
	GRPCUnimplemented:      {"UNIMPLEMENTED", UpstreamError},
	GRPCInternal:           {"INTERNAL", UpstreamError},
	GRPCUnavailable:        {"UNAVAILABLE", UpstreamError},
	GRPCDataLoss:           {"DATA_LOSS", UpstreamError},
	GRPCUnauthenticated:    {"UNAUTHENTICATED", ClientError},
}

// GRPCCodeOf returns the code with this number; UNKNOWN if there is none, as clients of gRPC do.
func GRPCCodeOf(number int) GRPCCode {
	if number < 0 || number >= int(GRPCCodeCount)-1 {
		return GRPCUnknown
	}
	return GRPCCode(number + 1)
}

// Number returns the number of the code, as grpc-status has it. There must be a code.
func (c GRPCCode) Number() int { return int(c) - 1 }

// String returns the name of the code, "" for NoGRPCCode.
func (c GRPCCode) String() string { return grpcCodes[c].Name }

// Info returns the row of c in the table.
func (c GRPCCode) Info() *GRPCCodeInfo { return &grpcCodes[c] }

// Faulty reports whether the code says that a server failed: then the span of the server is an error.
func (c GRPCCode) Faulty() bool { return grpcCodes[c].Outcome == UpstreamError }

// GRPCCodes returns all codes, in the order of their numbers.
func GRPCCodes() (all []GRPCCode) {
	for c := GRPCOK; c < GRPCCodeCount; c++ {
		all = append(all, c)
	}
	return all
}

// GRPC returns the code of pace's own response to a gRPC call with this outcome. Where no backend could be reached,
// or its connection was lost, it is UNAVAILABLE, which a client of gRPC has in that case without a proxy, too.
func (o Outcome) GRPC() GRPCCode {
	switch o {
	case NoRoute:
		return GRPCUnimplemented
	case RateLimited:
		return GRPCResourceExhausted
	case Forbidden:
		return GRPCPermissionDenied
	case ConnectTimeout, UpstreamTimeout, RouteTimeout, UpstreamStalled, RequestTimeout:
		return GRPCDeadlineExceeded
	case NoBackend, Overload, Exhausted, ConnectFailed, DNSFailed, UpstreamReset, UpstreamTruncated, Draining, DrainTimeout:
		return GRPCUnavailable
	}
	return GRPCInternal
}
