//go:build linux

package contract

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// TestPhases_ANameIsResolvedInDNS has a name server of its own: pace sees another /etc/resolv.conf
// than the machine.
func TestPhases_ANameIsResolvedInDNS(t *testing.T) {
	t.Parallel()
	const delay = time.Second
	b := pacetest.NewBackend(t, pacetest.Fine)
	_, port, _ := net.SplitHostPort(b.Address())
	cfg := pacetest.Config{
		"upstreams":     pacetest.Table{"backends": []string{"http://backend.test:" + port}, "connect_timeout": "10s"},
		"server_timing": pacetest.Table{"allow": []string{"127.0.0.0/8"}},
	}
	pacetest.Binary(t) // built where the machine's names are known
	resolveBy(t, nameServer(t, delay))
	p, spans := pacetest.StartTraced(t, cfg, "GODEBUG=netdns=go")

	answer := make(chan pacetest.Response, 1)
	go func() { answer <- p.Get("/x") }()
	pacetest.Eventually(t, func() error {
		if list := inFlight(t, p); len(list) != 1 || list[0]["phase"] != "dns" {
			return fmt.Errorf("in flight: %v", list)
		}
		return nil
	})
	got := <-answer
	wantStatus(t, got, 200)
	if timing := got.Header.Get("Server-Timing"); !strings.Contains(timing, "dns;dur=") || !strings.Contains(timing, "connect;dur=") {
		t.Errorf("Server-Timing = %q", timing)
	}
	wantDelayIn(t, p, spans, "dns", delay)

	wantStatus(t, p.Get("/again"), 200) // on the same connection, which has a name no more
	if line := p.WantAccess("/again"); line["dns_ms"] != nil || line["connect_ms"] != nil {
		t.Errorf("a pooled connection was resolved for: %v", line)
	}
}

// nameServer answers every query for an IPv4 address with 127.0.0.1, after this time, and returns
// its own address. Its port is DNS's, the only one that resolv.conf knows.
func nameServer(t *testing.T, after time.Duration) string {
	t.Helper()
	host := fmt.Sprintf("127.53.%d.%d", os.Getpid()>>8&0xff, os.Getpid()&0xff) // no other test run's
	c, err := net.ListenPacket("udp", host+":53")
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
			answer := resolved(buf[:n])
			time.AfterFunc(after, func() { c.WriteTo(answer, from) })
		}
	}()
	return host
}

// resolved is the answer to a query (RFC 1035, section 4): 127.0.0.1 for an A record, none for others.
func resolved(query []byte) []byte {
	const header = 12
	end := header + bytes.IndexByte(query[header:], 0) + 1 + 4 // name, type, class
	a := append([]byte(nil), query[:end]...)
	found := byte(0)
	if binary.BigEndian.Uint16(query[end-4:]) == 1 {
		found = 1
		a = append(a, 0xc0, header, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1) // the name at header, A, IN, 60 s
	}
	copy(a[2:], []byte{0x81, 0x80, 0, 1, 0, found, 0, 0, 0, 0}) // a recursive answer to one question
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
