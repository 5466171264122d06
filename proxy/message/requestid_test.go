package message

import (
	"net/http"
	"strings"
	"testing"
)

func TestRequestID(t *testing.T) {
	for name, tt := range map[string]struct {
		sent    string
		trusted bool
		kept    bool
	}{
		"a trusted proxy's is kept":      {"abc-123", true, true},
		"anybody else's is not":          {"abc-123", false, false},
		"none":                           {"", true, false},
		"one with a space":               {"a b", true, false},
		"one with a control character":   {"a\x7fb", true, false},
		"one that is not ASCII":          {"é", true, false},
		"one that is not UTF-8":          {"\xff", true, false},
		"the longest":                    {strings.Repeat("x", 128), true, true},
		"one that is too long":           {strings.Repeat("x", 129), true, false},
		"punctuation is nobody's harm":   {`{"a":1}`, true, true},
		"a line break would split a log": {"a\nb", true, false},
	} {
		h := http.Header{}
		if tt.sent != "" {
			h.Set("X-Request-Id", tt.sent)
		}
		got := RequestID(h, tt.trusted)
		if (got == tt.sent) != tt.kept || !tt.kept && (len(got) != 32 || strings.Trim(got, "0123456789abcdef") != "") {
			t.Errorf("%s: got %q for %q", name, got, tt.sent)
		}
		if !tt.kept && got == RequestID(h, tt.trusted) {
			t.Errorf("%s: %q twice", name, got)
		}
	}
}
