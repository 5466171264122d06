package audit

import (
	"encoding/binary"
	"errors"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"pace/e2e/parts"
)

// tap is the loopback interface's own account of what went to and came from a few ports. It is how
// a test knows of connections that were refused, and of requests whose backend died before it read
// them: of neither can a backend tell.
type tap struct {
	fd int
	t  testing.TB

	mu    sync.Mutex // guards the following
	ports map[int]*traffic
}

// traffic is what the wire saw of one port.
type traffic struct {
	syns    int    // connections asked for
	refused int    // of these, answered with RST
	opened  int    // answered with SYN
	used    int    // of those opened, on which anything was written
	heads   []head // requests written to it, in order

	fresh map[int]bool // connections opened and not used yet, by the other port
}

// head is a request as it was written.
type head struct{ trace, span, flags string }

// headOfRequest matches what begins a request, and finds its traceparent.
var headOfRequest = regexp.MustCompile(`(?is)\A[A-Z]+ \S+ HTTP/1\.1\r\n.*\r\ntraceparent: (\S+)\r\n`)

// snap is how much of each packet is looked at; a request's header fits.
const snap = 2048

// openTap begins to listen, until the end of the test. It needs CAP_NET_RAW.
func openTap(t testing.TB, at ...address) *tap {
	t.Helper()
	w := &tap{t: t, ports: map[int]*traffic{}}
	for _, a := range at {
		w.ports[port(a.Address())] = &traffic{fresh: map[int]bool{}}
	}
	// IPv4 only, so that each packet comes once: the outgoing copy is for ETH_P_ALL.
	protocol := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	var err error
	w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if errors.Is(err, unix.EPERM) {
		parts.Missing(t, "listening to the loopback interface needs CAP_NET_RAW: run as root")
	}
	lo, ifErr := net.InterfaceByName("lo")
	if err = errors.Join(err, ifErr); err != nil {
		t.Fatal(err)
	}
	program := w.filter()
	err = errors.Join(
		unix.SetsockoptSockFprog(w.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}),
		unix.SetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptTimeval(w.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50_000}),
		unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: lo.Index}),
	)
	if err != nil {
		unix.Close(w.fd)
		t.Fatal(err)
	}
	done, stop := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		w.listen(stop)
	}()
	t.Cleanup(func() {
		close(stop)
		<-done
		unix.Close(w.fd)
	})
	return w
}

const ethernet = 14 // bytes of a frame before its IP packet

// filter is the program, for the kernel's machine (bpf(4)), that lets the TCP segments of our ports pass.
func (w *tap) filter() []unix.SockFilter {
	load := func(size, mode uint16, at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | size | mode, K: at}
	}
	equal := func(k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	ports := []uint32{}
	for p := range w.ports {
		ports = append(ports, uint32(p))
	}
	slices.Sort(ports)
	program := []unix.SockFilter{
		load(unix.BPF_B, unix.BPF_ABS, ethernet+9),
		equal(unix.IPPROTO_TCP, 0, 1+2*(1+len(ports))), // else past all that follows, to the last line but one
		{Code: unix.BPF_LDX | unix.BPF_B | unix.BPF_MSH, K: ethernet},
	}
	for _, side := range []uint32{0, 2} { // from, to
		program = append(program, load(unix.BPF_H, unix.BPF_IND, ethernet+side))
		for i, p := range ports {
			left := len(ports) - 1 - i
			if side == 0 {
				left += 1 + len(ports)
			}
			program = append(program, equal(p, left+1, 0))
		}
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: snap})
}

func (w *tap) listen(stop <-chan struct{}) {
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
func (w *tap) note(frame []byte) {
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
	theirs, ours := w.ports[from], w.ports[to]
	switch flags := segment[13] & (syn | rst | ack); {
	case flags == syn && ours != nil:
		ours.syns++
		delete(ours.fresh, from)
	case flags == syn|ack && theirs != nil:
		theirs.opened++
		theirs.fresh[to] = true
	case flags == rst|ack && sequence == 0 && theirs != nil: // to a SYN; a connection that was open has a number
		theirs.refused++
	case ours != nil && len(payload) > 0:
		if ours.fresh[from] {
			ours.used++
			delete(ours.fresh, from)
		}
		if found := headOfRequest.FindSubmatch(payload); found != nil {
			var h head
			h.trace, h.span, h.flags = traceparent(string(found[1]))
			ours.heads = append(ours.heads, h)
		}
	}
}

// at returns what the wire has seen of an address so far. The test fails if a packet was lost, since
// the account would be worth nothing.
func (w *tap) at(address string) traffic {
	w.t.Helper()
	stats, err := unix.GetsockoptTpacketStats(w.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	if err != nil || stats.Drops > 0 {
		w.t.Fatalf("the wire's account lost %v packets (%v)", stats, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := *w.ports[port(address)]
	seen.heads = slices.Clone(seen.heads)
	return seen
}

func port(address string) int {
	_, digits, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(digits)
	return n
}
