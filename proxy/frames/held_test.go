package frames

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// What waits goes out together with what follows it, if that fits, and before it in any case.
func TestHeld_GoesOutBeforeWhatFollows(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", MaxHeld)
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
		"both do not fit":                {"a", large, -1, []string{"a", large}, MaxHeld},
		"what waits does not go out":     {"ab", "c", 1, []string{"abc"}, 0},
		"only a part of the rest does":   {"a", "bc", 2, []string{"abc"}, 1},
		"nothing is written after that":  {"a", large, 0, []string{"a"}, 0},
		"what follows fails on its own":  {"", "bc", 1, []string{"bc"}, 1},
		"the second of two writes fails": {"a", large, 1, []string{"a", large}, 1},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var h Held
			if tt.held != "" && !h.Hold([]byte(tt.held)) {
				t.Fatal("no room")
			}
			var writes []string
			n, err := h.WriteWith([]byte(tt.then), func(b []byte) (int, error) {
				writes = append(writes, string(b))
				if tt.taken >= 0 && len(b) > tt.taken {
					return tt.taken, failed
				}
				return len(b), nil
			})
			if n != tt.n || !slices.Equal(writes, tt.writes) || (err != nil) != (tt.taken >= 0) || !h.Empty() {
				t.Errorf("%d, %v after %d writes, empty: %t; want %d after %d", n, err, len(writes), h.Empty(), tt.n, len(tt.writes))
			}
		})
	}
}

// More than there is room for does not wait, and leaves what waits as it is.
func TestHeld_HasALimit(t *testing.T) {
	t.Parallel()
	var h Held
	if h.Hold(make([]byte, MaxHeld+1)) || !h.Empty() {
		t.Error("it holds more than it has room for")
	}
	if !h.Hold(make([]byte, MaxHeld)) || h.Hold([]byte("x")) {
		t.Error("it has not as much room as it says")
	}
	h.WriteWith(nil, func(b []byte) (int, error) {
		if len(b) != MaxHeld {
			t.Errorf("%d bytes wait, want %d", len(b), MaxHeld)
		}
		return len(b), nil
	})
}
