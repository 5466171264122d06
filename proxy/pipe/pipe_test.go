//go:build linux

package pipe

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"pace/proxy/tcptest"
)

// tcp returns both ends of a connection, and how the kernel is spoken to about the first.
func tcp(t testing.TB) (a, b *net.TCPConn, raw syscall.RawConn) {
	t.Helper()
	a, b = tcptest.Pair(t)
	raw, err := a.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	return a, b, raw
}

func take(t testing.TB) *Pipe {
	t.Helper()
	p, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Release)
	return p
}

func TestPipe_MovesAll(t *testing.T) {
	_, from, src := tcp(t)
	_, to, dst := tcp(t)
	want := make([]byte, 5<<20+7)
	for i := range want {
		want[i] = byte(rand.Uint32())
	}
	go func() { from.Write(want); from.Close() }()
	got := make(chan []byte)
	go func() {
		b := make([]byte, len(want))
		io.ReadFull(to, b)
		got <- b
	}()
	p := take(t)
	for left := int64(len(want)); left > 0; {
		n, err := p.Fill(src, left)
		if err != nil || n == 0 || p.Held() != n {
			t.Fatalf("filled %d, holds %d: %v", n, p.Held(), err)
		}
		for p.Held() > 0 {
			if done, err := p.Drain(dst); done == 0 || err != nil {
				t.Fatalf("drained %d: %v", done, err)
			}
		}
		left -= int64(n)
	}
	if !bytes.Equal(<-got, want) {
		t.Error("other bytes arrived than were sent")
	}
	if n, err := p.Fill(src, 1); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
}

// A side that does not move is given up when its deadline ends, and what has been moved is known.
func TestPipe_Deadlines(t *testing.T) {
	a, from, src := tcp(t)
	b, _, dst := tcp(t)
	p := take(t)
	a.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if n, err := p.Fill(src, 1); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing came: %d, %v", n, err)
	}
	a.SetReadDeadline(time.Time{})
	go io.Copy(from, zeros{})
	b.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	for {
		held := p.Held()
		if held == 0 {
			if held, err := p.Fill(src, Size); err != nil || held == 0 {
				t.Fatal(held, err)
			}
			continue
		}
		done, err := p.Drain(dst)
		if done+p.Held() != held || (done > 0) != (err == nil) {
			t.Fatalf("held %d, drained %d, holds %d, %v", held, done, p.Held(), err)
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("nobody read: %v", err)
		}
		return
	}
}

func TestPipe_EachSidesFaultIsItsOwn(t *testing.T) {
	_, from, src := tcp(t)
	_, to, dst := tcp(t)
	p := take(t)
	from.Write([]byte("x"))
	if _, err := p.Fill(src, 1); err != nil {
		t.Fatal(err)
	}
	to.SetLinger(0)
	to.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := p.Drain(dst); errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			break
		} else if time.Now().After(deadline) {
			t.Fatalf("to whom is gone: %v", err)
		}
		p.held = 0
		from.Write([]byte("x"))
		if _, err := p.Fill(src, 1); err != nil {
			t.Fatal(err)
		}
	}
	from.SetLinger(0)
	from.Close()
	q := take(t)
	if _, err := q.Fill(src, 1); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("from whom is gone: %v", err)
	}
}

// A pipe in which something was left is never used again: it would reach somebody else.
func TestPipe_ReleaseKeepsOnlyEmptyOnes(t *testing.T) {
	_, from, src := tcp(t)
	p, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	from.Write([]byte("secret"))
	if _, err := p.Fill(src, 6); err != nil {
		t.Fatal(err)
	}
	p.Release()
	if q := take(t); q == p {
		t.Error("taken again")
	}
	empty, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	empty.Release()
	if q := take(t); q != empty {
		t.Error("an empty one was not kept")
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }
