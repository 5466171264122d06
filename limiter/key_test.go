package limiter

import (
	"net/netip"
	"testing"
)

func TestClientIP(t *testing.T) {
	tests := map[string]struct {
		a, b string
		same bool
	}{
		"an address is itself":                     {"192.0.2.1", "192.0.2.1", true},
		"IPv4 neighbours are two":                  {"192.0.2.1", "192.0.2.2", false},
		"IPv4-mapped is IPv4":                      {"::ffff:192.0.2.1", "192.0.2.1", true},
		"IPv4-mapped with a zone is IPv4":          {"::ffff:192.0.2.1%eth0", "192.0.2.1", true},
		"one /64 is one":                           {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		"the next /64 is another":                  {"2001:db8::1", "2001:db8:0:1::1", false},
		"the zone does not matter":                 {"fe80::1%eth0", "fe80::2%eth1", true},
		"IPv6 that ends like IPv4 is IPv6":         {"::192.0.2.1", "192.0.2.1", false},
		"IPv6 that looks like IPv4's key is not":   {"::100:0:c000:201", "192.0.2.1", false},
		"loopback of IPv6 is not that of IPv4":     {"::1", "127.0.0.1", false},
		"the unspecified IPv4 is not that of IPv6": {"0.0.0.0", "::", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := ClientIP(netip.MustParseAddr(tt.a)), ClientIP(netip.MustParseAddr(tt.b))
			if (a == b) != tt.same {
				t.Errorf("%s and %s: got keys %x and %x, want same = %v", tt.a, tt.b, a, b, tt.same)
			}
		})
	}
}

func TestClientIP_OnlyTheInvalidAddressIsNobodys(t *testing.T) {
	for _, a := range []string{"::", "::1", "0.0.0.0", "::ffff:0.0.0.0"} {
		if ClientIP(netip.MustParseAddr(a)) == (Key{}) {
			t.Errorf("%s: got the zero Key", a)
		}
	}
	if got := ClientIP(netip.Addr{}); got != (Key{}) {
		t.Errorf("invalid address: got %x, want the zero Key", got)
	}
}
