//go:build unix

package http1

import (
	"net"
	"os"
	"testing"
	"time"

	"pace/proxy/transport"
)

// TestWriting_LooksOnceMore has a write whose deadline passes, as one's does in a process that was stopped:
// it goes on if the backend has made room meanwhile, and else is late.
func TestWriting_LooksOnceMore(t *testing.T) {
	for name, room := range map[string]bool{"there is room": true, "there is none": false} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if !room {
				nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
				for piece := make([]byte, 1<<20); err == nil; {
					_, err = nc.Write(piece)
				}
			}
			const timeout = 20 * time.Millisecond
			x := &exchange{pool: NewPool(at(l.Addr().String()), Options{ResponseTimeout: timeout}), req: get("/")}
			x.c = newConn(nc)
			calls := 0
			err = x.writing(timeout, func(*conn) (int, error) {
				if calls++; calls > 1 {
					return 1, nil
				}
				time.Sleep(2 * timeout)
				return 0, os.ErrDeadlineExceeded
			})
			if room && (err != nil || calls != 2) {
				t.Errorf("after %d writes: %v; want two, and no error", calls, err)
			}
			if !room {
				wantKind(t, err, transport.ResponseTimeout)
			}
		})
	}
}
