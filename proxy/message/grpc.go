package message

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The fields of gRPC over HTTP/2 (github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md).
const (
	GRPCType         = "application/grpc"
	GRPCStatusField  = "Grpc-Status"
	GRPCMessageField = "Grpc-Message"
	grpcTimeoutField = "Grpc-Timeout"
)

// IsGRPC reports whether a request is a gRPC call: its content is application/grpc, or that with the name of an
// encoding, as in application/grpc+proto. gRPC-Web is none: it has its status in the body.
func IsGRPC(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) != 1 || len(types[0]) < len(GRPCType) || !strings.EqualFold(types[0][:len(GRPCType)], GRPCType) {
		return false
	}
	rest := types[0][len(GRPCType):]
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// GRPCStatus reads the value of a grpc-status field: a number in decimal digits, without a sign. ok is whether it is
// one; it may be one that gRPC does not know.
func GRPCStatus(value string) (number int, ok bool) { return decimal(value) }

// decimal reads a number of at least one decimal digit and at most 9.
func decimal(value string) (n int, ok bool) {
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, 0 < len(value) && len(value) <= 9
}

// GRPCStatusOf returns the number of the code that clients take a response for that has this HTTP status and no
// grpc-status (github.com/grpc/grpc, doc/http-grpc-status-mapping.md).
func GRPCStatusOf(status int) int {
	switch status {
	case http.StatusBadRequest:
		return 13 // INTERNAL
	case http.StatusUnauthorized:
		return 16 // UNAUTHENTICATED
	case http.StatusForbidden:
		return 7 // PERMISSION_DENIED
	case http.StatusNotFound:
		return 12 // UNIMPLEMENTED
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return 14 // UNAVAILABLE
	}
	return 2 // UNKNOWN
}

// maxTimeoutDigits is how many digits the value of grpc-timeout may have.
const maxTimeoutDigits = 8

// timeoutUnits are the units of grpc-timeout.
var timeoutUnits = map[byte]time.Duration{
	'H': time.Hour, 'M': time.Minute, 'S': time.Second,
	'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
}

// GRPCTimeout reads the grpc-timeout of a request: how long its client waits for the end of the call. ok is
// whether there is one; one that is malformed is none, as for Envoy, and the backend may reject it. A timeout
// that is longer than a time.Duration can be is none, either.
func GRPCTimeout(h http.Header) (timeout time.Duration, ok bool) {
	values := h[grpcTimeoutField]
	if len(values) != 1 {
		return 0, false
	}
	v := values[0]
	if len(v) < 2 || len(v) > maxTimeoutDigits+1 {
		return 0, false
	}
	n, isNumber := decimal(v[:len(v)-1])
	unit := timeoutUnits[v[len(v)-1]]
	if !isNumber || unit == 0 || time.Duration(n) > maxTimeout/unit {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// maxTimeout is longer than any call: a hundred years.
const maxTimeout = 100 * 365 * 24 * time.Hour

// GRPCMessage encodes a text for the field grpc-message: printable ASCII stays, and all else, and %, is
// percent-encoded.
func GRPCMessage(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		if c >= ' ' && c <= '~' && c != '%' {
			b.WriteByte(c)
			continue
		}
		const hex = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}

// MaxGRPCMessage is how many bytes of a grpc-message from the wire are read.
const MaxGRPCMessage = 256

// GRPCMessageText decodes the value of a grpc-message field, of which it reads a bounded part. What is no valid
// encoding stays as it is, as gRPC wants. The text may hold any bytes.
func GRPCMessageText(value string) string {
	if len(value) > MaxGRPCMessage {
		value = value[:MaxGRPCMessage]
	}
	if !strings.Contains(value, "%") {
		return value
	}
	b := make([]byte, 0, len(value))
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+2 < len(value) {
			if c, err := strconv.ParseUint(value[i+1:i+3], 16, 8); err == nil {
				b = append(b, byte(c))
				i += 2
				continue
			}
		}
		b = append(b, value[i])
	}
	return string(b)
}
