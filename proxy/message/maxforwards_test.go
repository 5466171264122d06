package message

import (
	"math"
	"strings"
	"testing"
)

func TestMaxForwards(t *testing.T) {
	const largest = math.MaxUint64
	for _, tt := range []struct {
		name, method string
		values       []string
		hops         uint64
		limited      bool
	}{
		{"none limits nothing", "TRACE", nil, 0, false},
		{"TRACE is limited", "TRACE", []string{"0"}, 0, true},
		{"OPTIONS is limited", "OPTIONS", []string{"10"}, 10, true},
		{"no other method is limited", "GET", []string{"0"}, 0, false},
		{"leading zeros count for nothing", "TRACE", []string{"007"}, 7, true},
		{"the largest number stays", "TRACE", []string{"18446744073709551615"}, largest, true},
		{"a larger number is the largest", "TRACE", []string{"18446744073709551616"}, largest, true},
		{"a number of 400 digits is the largest", "TRACE", []string{strings.Repeat("9", 400)}, largest, true},
		{"the smallest of two lines holds", "TRACE", []string{"5", "0"}, 0, true},
		{"the smallest of a list holds", "TRACE", []string{"0 , 5"}, 0, true},
		{"a sign is no number", "TRACE", []string{"-1"}, 0, false},
		{"a plus is no number", "TRACE", []string{"+1"}, 0, false},
		{"a word is no number", "TRACE", []string{"0x10"}, 0, false},
		{"an underscore is no number", "TRACE", []string{"1_0"}, 0, false},
		{"nothing is no number", "TRACE", []string{""}, 0, false},
		{"one that is no number spoils the list", "TRACE", []string{"0, x"}, 0, false},
	} {
		hops, limited := MaxForwards(tt.method, tt.values)
		if limited != tt.limited || limited && hops != tt.hops {
			t.Errorf("%s: got %d, %v; want %d, %v", tt.name, hops, limited, tt.hops, tt.limited)
		}
	}
}

// FuzzMaxForwards holds that what goes on is always a smaller number than came, or the largest.
func FuzzMaxForwards(f *testing.F) {
	for _, s := range []string{"0", "1", "00", "18446744073709551616", "1,2", " 3", "-1", "", "1\t", "٣"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		hops, limited := MaxForwards("TRACE", []string{value})
		number := strings.Trim(value, " \t")
		if limited == (number == "" || strings.Trim(number, "0123456789") != "") && !strings.Contains(number, ",") {
			t.Fatalf("%q: limited is %v", value, limited)
		}
		if limited && hops == 0 && strings.Trim(number, "0") != "" && !strings.Contains(number, ",") {
			t.Fatalf("%q is taken for 0", value)
		}
	})
}
