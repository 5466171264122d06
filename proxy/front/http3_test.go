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

// Without max_connections there is a limit all the same, because no descriptors are needed. A connection that ends makes
// room.
func TestQUICListener_LimitsConnections(t *testing.T) {
	for _, tt := range []struct{ limit, want int }{{0, usualHTTP3}, {3, 3}, {usualHTTP3 + 1, usualHTTP3 + 1}} {
		s := &Server{}
		s.settings.Store(&Settings{MaxConnections: tt.limit})
		l := &quicListener{s: s}
		var first *Conn
		for n := range tt.want {
			c := &Conn{server: s}
			if _, ok := l.admit(c); !ok {
				t.Fatalf("limit %d: connection %d is refused", tt.limit, n+1)
			}
			if first == nil {
				first = c
			}
		}
		for range 2 {
			if limit, ok := l.admit(&Conn{server: s}); ok || limit != tt.want {
				t.Errorf("limit %d: one more got %v by limit %d", tt.limit, ok, limit)
			}
		}
		l.over(first)
		if _, ok := l.admit(&Conn{server: s}); !ok {
			t.Errorf("limit %d: there is no room after an end", tt.limit)
		}
	}
}
