package front

import (
	"net"
	"testing"
	"time"
)

// TestShutDoor_NoConnectionBegins, and one that had begun is still accepted.
func TestShutDoor_NoConnectionBegins(t *testing.T) {
	open, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	l := open.(*net.TCPListener)
	before, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if n := queued(l); n != 1 {
		t.Errorf("%d wait to be accepted, want 1", n)
	}
	shutDoor(l)
	if c, err := net.DialTimeout("tcp", l.Addr().String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a connection began after the door was shut")
	}
	l.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("a connection that had begun is not accepted: %v", err)
	}
	c.Close()
	if n := queued(l); n != 0 {
		t.Errorf("%d wait to be accepted, want 0", n)
	}
}
