package front

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What waits goes out together with what follows it, if that fits, and before it in any case.
func TestHeld_GoesOutBeforeWhatFollows(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", maxHeld)
	failed := errors.New("write failed")
	tests := map[string]struct {
		held, then string
		taken      int // bytes after which writing fails; -1: never
		writes     []string
		n          int
	}{
		"nothing waits":                  {"", "b", -1, []string{"b"}, 1},
		"nothing follows":                {"a", "", -1, []string{"a"}, 0},
		"both fit":                       {"a", "b", -1, []string{"ab"}, 1},
		"both do not fit":                {"a", large, -1, []string{"a", large}, maxHeld},
		"what waits does not go out":     {"ab", "c", 1, []string{"abc"}, 0},
		"only a part of the rest does":   {"a", "bc", 2, []string{"abc"}, 1},
		"nothing is written after that":  {"a", large, 0, []string{"a"}, 0},
		"what follows fails on its own":  {"", "bc", 1, []string{"bc"}, 1},
		"the second of two writes fails": {"a", large, 1, []string{"a", large}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var h heldBytes
			if tt.held != "" && !h.hold([]byte(tt.held)) {
				t.Fatal("no room")
			}
			var writes []string
			n, err := h.writeWith([]byte(tt.then), func(b []byte) (int, error) {
				writes = append(writes, string(b))
				if tt.taken >= 0 && len(b) > tt.taken {
					return tt.taken, failed
				}
				return len(b), nil
			})
			if n != tt.n || !slices.Equal(writes, tt.writes) || (err != nil) != (tt.taken >= 0) || !h.isEmpty() {
				t.Errorf("%d, %v after %d writes, empty: %t; want %d after %d", n, err, len(writes), h.isEmpty(), tt.n, len(tt.writes))
			}
		})
	}
}

// More than there is room for does not wait, and leaves what waits as it is.
func TestHeld_HasALimit(t *testing.T) {
	t.Parallel()
	var h heldBytes
	if h.hold(make([]byte, maxHeld+1)) || !h.isEmpty() {
		t.Error("it holds more than it has room for")
	}
	if !h.hold(make([]byte, maxHeld)) || h.hold([]byte("x")) {
		t.Error("it has not as much room as it says")
	}
	h.writeWith(nil, func(b []byte) (int, error) {
		if len(b) != maxHeld {
			t.Errorf("%d bytes wait, want %d", len(b), maxHeld)
		}
		return len(b), nil
	})
}
