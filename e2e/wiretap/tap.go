// Package wiretap records the traffic of a few ports on the loopback interface. With it, a test sees
// connections that were refused, and requests whose backend was killed before it read them. No backend can
// record those. It knows nothing of pace.
package wiretap

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"regexp"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pace/e2e/parts"
	"pace/e2e/port"
)

// Tap listens to the loopback interface. It is safe for concurrent use.
type Tap struct {
	t      testing.TB
	socket syscall.RawConn

	mu    sync.Mutex // guards the following, and reads of socket
	ports map[int]*traffic
}

// Traffic is the recorded traffic of one port since the tap was opened.
type Traffic struct {
	SYNs    int // connections asked for
	Refused int // of these, answered with RST
	Opened  int // answered with SYN
	Used    int // of those opened, on which anything was written

	Traceparents []string // of the requests written to it, in order
}

type traffic struct {
	Traffic
	fresh map[int]bool // connections opened and not used yet, by the other port
}

// Open begins to listen to what comes and goes at these addresses, until the end of the test. It
// needs CAP_NET_RAW.
func Open(t testing.TB, at ...interface{ Address() string }) *Tap {
	t.Helper()
	w := &Tap{t: t, ports: map[int]*traffic{}}
	for _, a := range at {
		w.ports[port.Of(a.Address())] = &traffic{fresh: map[int]bool{}}
	}
	file, err := w.open()
	if errors.Is(err, unix.EPERM) {
		parts.Missing(t, "listening to the loopback interface needs CAP_NET_RAW: run as root")
	}
	if err != nil {
		t.Fatal(err)
	}
	var listening sync.WaitGroup
	listening.Go(w.listen)
	t.Cleanup(func() {
		file.Close() // which ends listen
		listening.Wait()
	})
	return w
}

// open opens the socket (packet(7)).
func (w *Tap) open() (*os.File, error) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, err
	}
	// IPv4 only, so that each packet comes once: the outgoing copy is for ETH_P_ALL.
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // nothing, until it is bound
	if err != nil {
		return nil, err
	}
	file, program := os.NewFile(uintptr(fd), "wiretap"), filter(w.ports)
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: lo.Index}),
	)
	if err == nil {
		w.socket, err = file.SyscallConn()
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// listen reads the socket until it is closed.
func (w *Tap) listen() {
	w.socket.Read(func(fd uintptr) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.drain(int(fd))
		return false // wait for more
	})
}

// drain notes all that has come; the caller holds mu.
func (w *Tap) drain(fd int) {
	packet := make([]byte, snap)
	for {
		n, _, err := unix.Recvfrom(fd, packet, 0)
		if err != nil {
			return
		}
		w.note(packet[:n])
	}
}

// headOfRequest matches what begins a request, and finds its traceparent.
var headOfRequest = regexp.MustCompile(`(?is)\A[A-Z]+ \S+ HTTP/1\.1\r\n.*\r\ntraceparent: (\S+)\r\n`)

// note reads an Ethernet frame (RFC 791, RFC 9293 for what it holds); the caller holds mu.
func (w *Tap) note(frame []byte) {
	segment := frame[ethernet+int(frame[ethernet]&0x0f)*4:]
	if len(segment) < 20 || len(segment) < int(segment[12]>>4)*4 {
		return
	}
	from, to := int(binary.BigEndian.Uint16(segment)), int(binary.BigEndian.Uint16(segment[2:]))
	sequence := binary.BigEndian.Uint32(segment[4:])
	payload := segment[int(segment[12]>>4)*4:]
	const syn, rst, ack = 0x02, 0x04, 0x10

	theirs, ours := w.ports[from], w.ports[to]
	switch flags := segment[13] & (syn | rst | ack); {
	case flags == syn && ours != nil:
		ours.SYNs++
		delete(ours.fresh, from)
	case flags == syn|ack && theirs != nil:
		theirs.Opened++
		theirs.fresh[to] = true
	case flags == rst|ack && sequence == 0 && theirs != nil: // to a SYN; a connection that was open has a number
		theirs.Refused++
	case ours != nil && len(payload) > 0:
		if ours.fresh[from] {
			ours.Used++
			delete(ours.fresh, from)
		}
		if found := headOfRequest.FindSubmatch(payload); found != nil {
			ours.Traceparents = append(ours.Traceparents, string(found[1]))
		}
	}
}

// At returns the traffic so far of an address that the tap was opened for. The test fails if a packet was
// lost, because the record would be incomplete.
func (w *Tap) At(address string) Traffic {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	var stats *unix.TpacketStats
	var err error
	closed := w.socket.Control(func(fd uintptr) {
		w.drain(int(fd)) // what listen has not come to yet
		stats, err = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(closed, err); err != nil || stats.Drops > 0 {
		w.t.Fatalf("the wire's account lost %v packets (%v)", stats, err)
	}
	seen := w.ports[port.Of(address)]
	if seen == nil {
		w.t.Fatalf("the tap is not at %s", address)
	}
	copied := seen.Traffic
	copied.Traceparents = slices.Clone(copied.Traceparents)
	return copied
}
