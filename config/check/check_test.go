package check

import (
	"strings"
	"testing"
)

// The refusals themselves are held by the golden files of package config, whose faults they become.

func TestSample_PassesItsCheck(t *testing.T) {
	for name, c := range checks {
		if got, bad := Named(name)(c.sample, c.sample); bad != nil || got == "" {
			t.Errorf("%s: %q: got %q, %+v", name, c.sample, got, bad)
		}
		if _, bad := Named(name+"?")("", c.sample); bad != nil {
			t.Errorf("%s?: the empty string is refused: %s", name, bad.What)
		}
	}
}

// What a check returns passes it, and stays as it is: so a file that pace writes means the same.
func FuzzNamed(f *testing.F) {
	for _, c := range checks {
		f.Add(c.sample)
	}
	for _, s := range []string{"http://[::ffff:10.0.0.1]:0081", "unix:/a//b", "//h/{x}", "/a/../b", "10.0.0.1/8", "a:b:c", "GET /{x...}", "\x00", "http://u:p@h", "uniX:2", "FD:http"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for name, c := range checks {
			got, bad := Named(name)(s, c.sample)
			switch {
			case bad != nil && bad.What == "":
				t.Errorf("%s: %q is refused without a word", name, s)
			case bad != nil:
				if strings.ContainsAny(bad.What, "\x00\n\r\x1b") {
					t.Errorf("%s: %q: a control character in %q", name, s, bad.What)
				}
			default:
				again, bad := Named(name)(got, c.sample)
				if got != "" && (bad != nil || again != got) {
					t.Errorf("%s: %q became %q, which becomes %q, %+v", name, s, got, again, bad)
				}
			}
		}
	})
}
