package front

import (
	"net/netip"
	"testing"
	"time"
)

func TestRefusedPeers_CountAConnectionOnce(t *testing.T) {
	var r refusedPeers
	peer := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.1"), port) }
	start := time.Now()
	for _, tt := range []struct {
		name  string
		port  uint16
		after time.Duration
		want  bool
	}{
		{"the first packet of a connection counts", 1, 0, true},
		{"its second does not", 1, time.Second, false},
		{"another port is another connection", 2, time.Second, true},
		{"after a while the port is that of another connection", 1, repeating, true},
	} {
		if got := r.isNew(peer(tt.port), start.Add(tt.after)); got != tt.want {
			t.Errorf("%s: got %v", tt.name, got)
		}
	}
}
