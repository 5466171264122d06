package front

import (
	"errors"
	"os"
	"testing"
	"time"

	"pace/proxy/tcptest"
)

// A client that may take nothing for ever may do so until an exchange must end, however often that is said.
func TestTaking_HurryEndsAWriteThatWaits(t *testing.T) {
	t.Parallel()
	_, server := tcptest.Pair(t)
	c := &taking{Conn: server, on: true}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Write(make([]byte, 64<<20))
		failed <- err
	}()
	select {
	case err := <-failed:
		t.Fatalf("a client that has all the time is given up: %v", err)
	case <-time.After(time.Second):
	}
	began := time.Now()
	for {
		c.hurry()
		select {
		case err := <-failed:
			if d := time.Since(began); !errors.Is(err, os.ErrDeadlineExceeded) || d < hurryLimit || d > hurryLimit*3/2 {
				t.Errorf("the write ended after %v: %v", d, err)
			}
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Since(began) > hurryLimit+3*time.Second {
			t.Fatal("the write still waits")
		}
	}
}

// An exchange that had to end before a write began takes none of the write's time.
func TestTaking_AWriteAfterHurryHasItsTime(t *testing.T) {
	t.Parallel()
	client, server := tcptest.Pair(t)
	c := &taking{Conn: server, on: true}
	c.hurry()
	time.Sleep(hurryLimit + 100*time.Millisecond)
	go func() {
		time.Sleep(time.Second)
		client.SetReadBuffer(4 << 20)
		for b := make([]byte, 1<<20); ; {
			if _, err := client.Read(b); err != nil {
				return
			}
		}
	}()
	if n, err := c.Write(make([]byte, 64<<20)); n != 64<<20 || err != nil {
		t.Errorf("%d bytes are written: %v", n, err)
	}
}
