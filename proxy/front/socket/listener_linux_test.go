package socket

import (
	"context"
	"net"
	"testing"
	"time"
)

func TestIgnoreNew_NoConnectionBeginsAndOneThatHadBegunIsAccepted(t *testing.T) {
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	open, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
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
	if !Queued(l) {
		t.Error("none waits to be accepted, want one")
	}
	IgnoreNew(l)
	if c, err := net.DialTimeout("tcp", l.Addr().String(), 200*time.Millisecond); err == nil {
		c.Close()
		t.Error("a connection began although new ones are ignored")
	}
	l.SetDeadline(time.Now().Add(10 * time.Second))
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("a connection that had begun is not accepted: %v", err)
	}
	c.Close()
	if Queued(l) {
		t.Error("one waits to be accepted, want none")
	}
}
