package observability

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pace/e2e/parts"
)

// wire is the loopback interface's own account of what went to and came from each port. It is how
// a test knows of connections that were refused, which no backend can count.
type wire struct {
	fd int
	t  testing.TB

	mu    sync.Mutex // guards the following
	ports map[int]*traffic
}

// traffic is what the wire saw of one port that listens, or does not.
type traffic struct {
	syns    int            // connections asked for
	refused int            // of these, answered with RST
	heads   map[string]int // requests written to it, by trace id
}

// headOfRequest matches what begins a request and finds its trace.
var headOfRequest = regexp.MustCompile(`(?is)\A[A-Z]+ \S+ HTTP/1\.1\r\n.*\r\ntraceparent: 00-([0-9a-f]{32})-`)

// snap is how much of each packet is looked at; a request's header fits.
const snap = 2048

// tap begins to listen to the loopback interface, until the end of the test. It needs CAP_NET_RAW.
func tap(t testing.TB) *wire {
	t.Helper()
	// IPv4 only, so that each packet comes once: the outgoing copy is for ETH_P_ALL.
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if errors.Is(err, unix.EPERM) {
		parts.Missing(t, "listening to the loopback interface needs CAP_NET_RAW: run as root")
	}
	lo, ifErr := net.InterfaceByName("lo")
	if err = errors.Join(err, ifErr); err != nil {
		t.Fatal(err)
	}
	cut := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: snap}
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &cut}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 128<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: lo.Index}),
	)
	if err != nil {
		unix.Close(fd)
		t.Fatal(err)
	}
	w := &wire{fd: fd, t: t, ports: map[int]*traffic{}}
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.listen(stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		unix.Close(fd)
	})
	return w
}

func (w *wire) listen(stop <-chan struct{}) {
	packet := make([]byte, snap)
	for {
		n, _, err := unix.Recvfrom(w.fd, packet, 0)
		if err == nil {
			w.note(packet[:n])
			continue
		}
		select {
		case <-stop:
			return
		default: // the timeout, at which stop is looked at
		}
	}
}

// note reads an Ethernet frame (RFC 791, RFC 9293 for what it holds).
func (w *wire) note(frame []byte) {
	const ethernet = 14
	if len(frame) < ethernet+20 || frame[ethernet+9] != unix.IPPROTO_TCP {
		return
	}
	segment := frame[ethernet+int(frame[ethernet]&0x0f)*4:]
	if len(segment) < 20 || len(segment) < int(segment[12]>>4)*4 {
		return
	}
	from, to := int(binary.BigEndian.Uint16(segment)), int(binary.BigEndian.Uint16(segment[2:]))
	sequence := binary.BigEndian.Uint32(segment[4:])
	payload := segment[int(segment[12]>>4)*4:]
	const syn, rst, ack = 0x02, 0x04, 0x10

	w.mu.Lock()
	defer w.mu.Unlock()
	switch flags := segment[13] & (syn | rst | ack); {
	case flags == syn:
		w.port(to).syns++
	case flags == rst|ack && sequence == 0: // to a SYN; a connection that was open has a number
		w.port(from).refused++
	default:
		if found := headOfRequest.FindSubmatch(payload); found != nil {
			w.port(to).heads[string(found[1])]++
		}
	}
}

// port is called with mu held.
func (w *wire) port(n int) *traffic {
	if w.ports[n] == nil {
		w.ports[n] = &traffic{heads: map[string]int{}}
	}
	return w.ports[n]
}

// at returns what the wire has seen of a loopback address so far. The test fails if a packet was
// lost, since the account would be worth nothing.
func (w *wire) at(address string) traffic {
	w.t.Helper()
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		w.t.Fatalf("the wire's account lost %v packets (%v)", stats, err)
	}
	_, digits, _ := net.SplitHostPort(address)
	port, err := strconv.Atoi(digits)
	if err != nil {
		w.t.Fatalf("%s: %v", address, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := *w.port(port)
	seen.heads = maps.Clone(seen.heads)
	return seen
}
