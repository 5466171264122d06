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
		"an address has one key":                                           {"192.0.2.1", "192.0.2.1", true},
		"two IPv4 addresses have two keys":                                 {"192.0.2.1", "192.0.2.2", false},
		"an IPv4-mapped address has the key of the IPv4 address":           {"::ffff:192.0.2.1", "192.0.2.1", true},
		"so has an IPv4-mapped address with a zone":                        {"::ffff:192.0.2.1%eth0", "192.0.2.1", true},
		"the addresses of one /64 have one key":                            {"2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true},
		"the next /64 has another key":                                     {"2001:db8::1", "2001:db8:0:1::1", false},
		"the zone does not matter":                                         {"fe80::1%eth0", "fe80::2%eth1", true},
		"an IPv6 address that ends like an IPv4 one has another key":       {"::192.0.2.1", "192.0.2.1", false},
		"an IPv6 address made like the key of an IPv4 one has another key": {"::100:0:c000:201", "192.0.2.1", false},
		"the loopback addresses of IPv6 and IPv4 have two keys":            {"::1", "127.0.0.1", false},
		"the unspecified addresses of IPv4 and IPv6 have two keys":         {"0.0.0.0", "::", false},
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

func TestClientIP_OnlyTheInvalidAddressHasTheZeroKey(t *testing.T) {
	for _, a := range []string{"::", "::1", "0.0.0.0", "::ffff:0.0.0.0"} {
		if ClientIP(netip.MustParseAddr(a)) == (Key{}) {
			t.Errorf("%s: got the zero Key", a)
		}
	}
	if got := ClientIP(netip.Addr{}); got != (Key{}) {
		t.Errorf("invalid address: got %x, want the zero Key", got)
	}
}
