package message

import "testing"

func TestVia(t *testing.T) {
	for _, tt := range []struct {
		list          []string
		version, want string
	}{
		{nil, "1.1", "1.1 pace"}, {nil, "1.0", "1.0 pace"}, {nil, "2", "2 pace"},
		{[]string{"1.1 a"}, "1.1", "1.1 a, 1.1 pace"}, {[]string{"1.0 a", "2 b (x)"}, "2", "1.0 a, 2 b (x), 2 pace"},
	} {
		if got := Via(tt.list, tt.version); got != tt.want {
			t.Errorf("%q, %s: got %q, want %q", tt.list, tt.version, got, tt.want)
		}
	}
}

func TestHops(t *testing.T) {
	for name, tt := range map[string]struct {
		via  []string
		want int
	}{
		"no field":                      {nil, 0},
		"another proxy":                 {[]string{"1.1 nginx"}, 0},
		"one pace":                      {[]string{"1.1 pace"}, 1},
		"paces among others":            {[]string{"1.1 pace, 2 edge:443, 2 pace"}, 2},
		"several fields":                {[]string{"1.1 pace", "1.0 pace,HTTP/1.1 pace"}, 3},
		"one with a comment":            {[]string{"1.1 pace (0.1.0)"}, 1},
		"names that only begin like it": {[]string{"1.1 pacemaker, 1.1 pace.example, pace, 1.1"}, 0},
		"odd lists":                     {[]string{",, ,1.1\tpace ,"}, 1},
	} {
		if got := Hops(tt.via); got != tt.want {
			t.Errorf("%s: got %d, want %d", name, got, tt.want)
		}
	}
}
