package check

import (
	"slices"
	"testing"
)

func TestStatuses_AreThoseOfTheText(t *testing.T) {
	for _, tt := range []struct {
		text    string
		has     []int
		hasNone []int
	}{
		{"200-399", []int{200, 399}, []int{0, 101, 199, 400, 1000, -1}},
		{"204", []int{204}, []int{200, 203, 205}},
		{"200-299, 404,503", []int{200, 299, 404, 503}, []int{300, 403, 405}},
		{"200-599", []int{200, 599}, []int{101, 600}},
	} {
		s, err := ParseStatuses(tt.text)
		if err != nil || s.String() != tt.text {
			t.Errorf("%s: %v, %v", tt.text, s, err)
		}
		for _, status := range slices.Concat(tt.has, tt.hasNone) {
			if got := s.Has(status); got != slices.Contains(tt.has, status) {
				t.Errorf("%s has %d: %v", tt.text, status, got)
			}
		}
		if again, _ := ParseStatuses(tt.text); again != s {
			t.Errorf("%s: two readings differ", tt.text)
		}
	}
}

func TestParseStatuses_RefusesWhatIsNone(t *testing.T) {
	for _, text := range []string{"", "ok", "100", "199-200", "200-600", "300-200", "200-", "-300", "200,", "200-300-400", "2 00", "+200", "65736"} {
		if s, err := ParseStatuses(text); err == nil {
			t.Errorf("%q: %v", text, s)
		}
	}
}
