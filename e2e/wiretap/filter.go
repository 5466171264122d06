package wiretap

import (
	"maps"
	"slices"

	"golang.org/x/sys/unix"
)

const (
	ethernet = 14   // bytes of a frame before its IP packet
	snap     = 2048 // how much of each packet is looked at; a request's header fits
)

// filter is the program, for the kernel's machine (bpf(4)), that lets the TCP segments from and to
// the ports pass. Its jumps reach no farther than some 120 ports.
func filter(of map[int]*traffic) []unix.SockFilter {
	load := func(size, mode uint16, at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | size | mode, K: at}
	}
	equal := func(k uint32, yes, no int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: k, Jt: uint8(yes), Jf: uint8(no)}
	}
	ports := slices.Sorted(maps.Keys(of))
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
			program = append(program, equal(uint32(p), left+1, 0))
		}
	}
	return append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K}, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: snap})
}
