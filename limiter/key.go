package limiter

import (
	"encoding/binary"
	"net/netip"
)

// Key says whose requests are counted together. Keys are made by functions such as
// [ClientIP]. The zero Key is nobody's: it is never limited and takes no memory.
type Key struct {
	hi, lo uint64 // the highest byte of lo is the kind
}

// A key's kind keeps keys of different making apart: without it ::1 would fold to the zero
// Key, and an IPv6 client could own an IPv4 client's key.
const (
	kindIPv4 uint64 = (iota + 1) << 56
	kindIPv6
)

// ClientIP is the key of the client at a. An IPv6 address counts as its /64, since that is
// the least that one subscriber gets; hence all link-local clients of all zones are one.
// An IPv4-mapped address is the IPv4 address.
//
// The invalid Addr gives the zero Key, which is not limited: a shared key would let one
// client without an address use up the places of all others. A caller that would rather
// limit than pass must put an address in its place, such as that of the peer.
func ClientIP(a netip.Addr) Key {
	a = a.Unmap()
	switch {
	case a.Is4():
		b := a.As4()
		return Key{lo: kindIPv4 | uint64(binary.BigEndian.Uint32(b[:]))}
	case a.Is6():
		b := a.As16()
		return Key{hi: binary.BigEndian.Uint64(b[:8]), lo: kindIPv6}
	}
	return Key{}
}
