package meant

import "testing"

func TestWord(t *testing.T) {
	known := []string{"users", "orders", "default"}
	for _, tt := range []struct{ name, written, want string }{
		{"a letter too few is recognised", "user", "users"},
		{"two letters in the wrong order are one error", "odrers", "orders"},
		{"capitals are no error", "DEFAULT", "default"},
		{"a word that is far from all is none of them", "payments", ""},
	} {
		if got := Word(tt.written, known); got != tt.want {
			t.Errorf("%s: %q: got %q, want %q", tt.name, tt.written, got, tt.want)
		}
	}
}

func TestValues_AreAsTOMLWritesThem(t *testing.T) {
	for _, tt := range []struct {
		name          string
		as            func(string) string
		written, want string
	}{
		{"yes is true", Boolean, "Yes", "true"},
		{"a word is no boolean", Boolean, "maybe", ""},
		{"separators of thousands are left out", Whole, "1,000_000", "1000000"},
		{"a fraction is no whole number", Whole, "1.5", ""},
		{"a duration without a unit is in seconds", Duration, "30", "30s"},
		{"a unit in words is known", Duration, "5 minutes", "5m"},
		{"a duration needs a number", Duration, "soon", ""},
	} {
		if got := tt.as(tt.written); got != tt.want {
			t.Errorf("%s: %q: got %q, want %q", tt.name, tt.written, got, tt.want)
		}
	}
}
