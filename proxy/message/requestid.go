package message

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strings"
)

// RequestIDField tells the client and the backend by which id the request is known.
const RequestIDField = "X-Request-Id"

// RequestID returns the id that a trusted proxy gave the request, or a new one.
func RequestID(h http.Header, trusted bool) string {
	if id := h.Get(RequestIDField); trusted && validRequestID(id) {
		return id
	}
	var id [16]byte
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// validRequestID bounds what is handed on into logs and to backends.
func validRequestID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
