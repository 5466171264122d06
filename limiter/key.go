package limiter

import (
	"encoding/binary"
	"net/netip"
)

// Key says which requests are counted together. Functions such as [ClientIP] make keys. The zero Key
// belongs to no client: it is never limited and takes no memory.
type Key struct {
	hi, lo uint64 // the highest byte of lo is the kind
}

// A key's kind separates the keys of different functions. Without it, ::1 would be the zero Key, and an
// IPv6 client could have the key of an IPv4 client.
const (
	kindIPv4 uint64 = (iota + 1) << 56
	kindIPv6
)

// ClientIP returns the key of the client at a. An IPv6 address counts as its /64, the smallest network
// that one subscriber gets; so all link-local clients, of all zones, share one key. An IPv4-mapped
// address counts as the IPv4 address.
//
// The invalid Addr gives the zero Key, which is never limited: with a shared key, one client without an
// address could exhaust the quota of all others. A caller that prefers to limit such a client passes
// another address, such as that of the peer.
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
