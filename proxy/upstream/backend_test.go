package upstream

import (
	"testing"
)

func TestBackend_IsNamedByItsAddress(t *testing.T) {
	for _, tt := range []struct {
		name  string
		a     Address
		label string
		host  string
		port  int
		field string // Host, where the client sent none
	}{
		{"a name", Address{Addr: "app.internal:80"}, "backend_app.internal_80", "app.internal", 80, "app.internal:80"},
		{"an IPv4 address", Address{Addr: "127.0.0.1:8000"}, "backend_127.0.0.1_8000", "127.0.0.1", 8000, "127.0.0.1:8000"},
		{"an IPv6 address", Address{Addr: "[::1]:65535"}, "backend_::1_65535", "::1", 65535, "[::1]:65535"},
		{"a unix socket", Address{Network: "unix", Addr: "/run/app.sock"}, "/run/app.sock", "/run/app.sock", 0, "localhost"},
	} {
		b := New(Options{Addresses: []Address{tt.a}}, nil).Backends()[0]
		if b.Addr != tt.a.Addr || b.Label != tt.label || b.Host != tt.host || b.Port != tt.port || b.Authority != tt.field {
			t.Errorf("%s: got %+v", tt.name, b)
		}
	}
}

func TestNew_PanicsOnWhatIsNoAddress(t *testing.T) {
	for _, addr := range []string{"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:http", "::1:80", "http://127.0.0.1:80"} {
		t.Run(addr, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%q: no panic", addr)
				}
			}()
			New(Options{Addresses: []Address{{Addr: addr}}}, nil)
		})
	}
}
