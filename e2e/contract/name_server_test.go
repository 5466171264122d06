//go:build linux

package contract

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pace/e2e/parts"
)

// nameServer answers every query for IPv4 addresses with the same ones, which may change.
type nameServer struct {
	host  string
	after time.Duration // a response takes this long

	mu    sync.Mutex // guards what follows
	addrs []netip.Addr
	asked int // queries for IPv4 addresses
}

var nameServers atomic.Int32

// newNameServer starts a name server of the test's own. Its port is DNS's, the only one that resolv.conf knows,
// so it has an address that no other test has.
func newNameServer(t *testing.T, after time.Duration, addrs ...string) *nameServer {
	t.Helper()
	s := &nameServer{host: fmt.Sprintf("127.%d.%d.%d", 53+nameServers.Add(1), os.Getpid()>>8&0xff, os.Getpid()&0xff), after: after}
	s.resolveTo(addrs...)
	c, err := net.ListenPacket("udp", s.host+":53")
	if err != nil {
		parts.Missing(t, "a name server needs port 53: run as root: "+err.Error())
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		for buf := make([]byte, 1500); ; {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			response := s.resolved(buf[:n])
			time.AfterFunc(after, func() { c.WriteTo(response, from) })
		}
	}()
	return s
}

// resolveTo changes the addresses.
func (s *nameServer) resolveTo(addrs ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addrs = nil
	for _, a := range addrs {
		s.addrs = append(s.addrs, netip.MustParseAddr(a))
	}
}

// resolved is the response to a query (RFC 1035, section 4): the addresses for an A record, none for others.
func (s *nameServer) resolved(query []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	const header = 12
	end := header + bytes.IndexByte(query[header:], 0) + 1 + 4 // name, type, class
	a := append([]byte(nil), query[:end]...)
	found := byte(0)
	if binary.BigEndian.Uint16(query[end-4:]) == 1 {
		s.asked++
		found = byte(len(s.addrs))
		for _, addr := range s.addrs {
			a = append(a, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4) // the name at header, A, IN, 60 s
			a = append(a, addr.AsSlice()...)
		}
	}
	copy(a[2:], []byte{0x81, 0x80, 0, 1, 0, found, 0, 0, 0, 0}) // a recursive response to one question
	return a
}

// resolveBy makes what the test starts from now on ask this name server. A process inherits the
// file systems of the thread that starts it, so the test keeps its thread, which ends with it.
func resolveBy(t *testing.T, server string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver "+server+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	if err := syscall.Unshare(syscall.CLONE_NEWNS); err != nil {
		parts.Missing(t, "file systems of its own need CAP_SYS_ADMIN: run as root: "+err.Error())
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount(file, "/etc/resolv.conf", "", syscall.MS_BIND, ""); err != nil {
		parts.Missing(t, "another /etc/resolv.conf: "+err.Error())
	}
}
