package port

import (
	"net"
	"testing"
)

// A reserved port refuses connections until its owner listens there, and the kernel gives it to no other socket: not to
// those that listen on a port of its choice, nor to those that connect.
func TestReserve(t *testing.T) {
	_, reserved := Reserve(t)
	if c, err := net.Dial("tcp", reserved); err == nil {
		c.Close()
		t.Fatal("it takes connections")
	}
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for range 100 {
		c, err := net.Dial("tcp", other.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.LocalAddr().String() == reserved || other.Addr().String() == reserved {
			t.Fatal("the kernel gave it away")
		}
	}
	for range 2 {
		l, err := net.Listen("tcp", reserved)
		if err != nil {
			t.Fatalf("its owner may not listen there: %v", err)
		}
		l.Close()
	}
}

func TestOf(t *testing.T) {
	for address, want := range map[string]int{"127.0.0.1:80": 80, "[::1]:65535": 65535, "127.0.0.1": 0, "": 0, "x:http": 0} {
		if got := Of(address); got != want {
			t.Errorf("Of(%q) = %d, want %d", address, got, want)
		}
	}
}
