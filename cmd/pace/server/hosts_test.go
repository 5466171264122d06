package server

import (
	"os"
	"testing"

	"pace/config"
)

func TestHosts(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	const loopback, elsewhere = "127.0.0.1:9464", "0.0.0.0:9464"
	tests := []struct {
		name   string
		listen string
		host   string
		want   bool
	}{
		{"loopback is asked by its address", loopback, "127.0.0.1:9464", true},
		{"by another port, as through a tunnel", loopback, "127.0.0.1:1", true},
		{"by another address of loopback", loopback, "127.9.9.9", true},
		{"by the one of IPv6", loopback, "[::1]:9464", true},
		{"by an IPv4-mapped one", loopback, "[::ffff:127.0.0.1]:9464", true},
		{"by localhost", loopback, "localhost:9464", true},
		{"by localhost in capitals with a dot", loopback, "LocalHost.:9464", true},
		{"by the machine's name", loopback, machine + ":9464", true},
		{"by a name of admin.hosts", loopback, "pace.internal:9464", true},
		{"without Host", loopback, "", true},
		{"by a stranger's name", loopback, "evil.example:9464", false},
		{"by a name that begins like localhost", loopback, "localhost.evil.example", false},
		{"by a name that begins like an address", loopback, "127.0.0.1.evil.example", false},
		{"by an address that is not loopback", loopback, "10.0.0.1:9464", false},
		{"by a number that is no address", loopback, "2130706433", false},
		{"by something that is no host", loopback, "[::1", false},
		{"elsewhere any address will do", elsewhere, "10.0.0.1:9464", true},
		{"also of IPv6", elsewhere, "[2001:db8::1]", true},
		{"and localhost", elsewhere, "localhost:9464", true},
		{"and a name of admin.hosts", elsewhere, "PACE.internal", true},
		{"but no stranger's name", elsewhere, "evil.example", false},
		{"the name that it listens on", "pace.local:9464", "pace.local", true},
	}
	for _, tt := range tests {
		h := ownHosts(config.Admin{Listen: tt.listen, Hosts: []string{"pace.internal"}})
		if got := h.allow(tt.host, tt.listen == loopback); got != tt.want {
			t.Errorf("%s: %q: got %v, want %v", tt.name, tt.host, got, tt.want)
		}
	}
}
