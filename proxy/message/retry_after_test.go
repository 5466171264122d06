package message

import (
	"math/big"
	"net/http"
	"testing"
	"time"
)

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"0": 0, "3": 3 * time.Second, "10": 10 * time.Second, "11": 10 * time.Second, "003": 3 * time.Second,
		"99999999999999999999999999": 10 * time.Second,
		"":                           0, "-1": 0, "+1": 0, "1.5": 0, "1s": 0, " 1": 0, "soon": 0, "1, 2": 0,
		now.Add(4 * time.Second).Format(http.TimeFormat): 4 * time.Second,
		now.Add(time.Hour).Format(http.TimeFormat):       10 * time.Second,
		now.Add(-time.Hour).Format(http.TimeFormat):      0,
		"Thursday, 26-Nov-26 12:00:02 GMT":               2 * time.Second,
	} {
		if got := RetryAfter(value, now, 10*time.Second); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	}
}

// FuzzRetryAfter holds it to numbers without a largest one, and to the dates of net/http.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"5", "18446744073709551617", "Thu, 26 Nov 2026 12:00:05 GMT", "-3", "Sun Nov  6 08:49:37 1994"} {
		f.Add(s)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	const limit = 10 * time.Second
	f.Fuzz(func(t *testing.T, value string) {
		var want time.Duration
		n, ok := new(big.Int).SetString(value, 10)
		at, err := http.ParseTime(value)
		switch {
		case ok && value[0] != '-' && value[0] != '+' && n.Cmp(big.NewInt(10)) >= 0:
			want = limit
		case ok && value[0] != '-' && value[0] != '+':
			want = time.Duration(n.Int64()) * time.Second
		case err == nil && at.After(now.Add(limit)):
			want = limit
		case err == nil && at.After(now):
			want = at.Sub(now)
		}
		if got := RetryAfter(value, now, limit); got != want {
			t.Errorf("%q: got %v, want %v", value, got, want)
		}
	})
}
