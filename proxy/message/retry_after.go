package message

import (
	"net/http"
	"strconv"
	"time"
)

// RetryAfter reads the value of a Retry-After field: for how long its sender wants no further request, from now on
// (RFC 9110 §10.2.3). It returns at most limit, and 0 for what is in the past or no such value.
func RetryAfter(value string, now time.Time, limit time.Duration) time.Duration {
	if at, err := http.ParseTime(value); err == nil {
		return min(max(at.Sub(now), 0), limit)
	}
	if value == "" {
		return 0
	}
	for _, c := range []byte(value) {
		if c < '0' || c > '9' {
			return 0
		}
	}
	seconds, err := strconv.ParseInt(value, 10, 64)
	if err != nil || seconds > int64(limit/time.Second) { // of digits, only one that is too large is refused
		return limit
	}
	return time.Duration(seconds) * time.Second
}
