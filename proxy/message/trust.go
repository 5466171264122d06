package message

import (
	"net/http"
	"net/netip"
	"slices"
)

// Trust knows which proxies are believed. It is made once and only read.
type Trust struct {
	prefixes []netip.Prefix
}

// NewTrust returns a Trust in the proxies with these addresses.
func NewTrust(prefixes []netip.Prefix) *Trust { return &Trust{prefixes} }

// Peer is the address that is connected to pace, in the forms that each request on the connection needs.
type Peer struct {
	Addr   netip.Addr // IPv4 as such, without zone
	Text   string
	Port   int
	Scheme string // of what it speaks to pace: HTTP or HTTPS
}

// NewPeer returns the client that is connected from an address and speaks a scheme.
func NewPeer(a netip.AddrPort, scheme string) Peer {
	addr := a.Addr().Unmap().WithZone("")
	return Peer{Addr: addr, Text: addr.String(), Port: int(a.Port()), Scheme: scheme}
}

// Trusts reports whether the peer at an address is a proxy whose forwarding fields are believed.
func (t *Trust) Trusts(peer netip.Addr) bool { return Contains(t.prefixes, peer) }

// Contains reports whether one of the prefixes contains the address.
func Contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// Forwarding returns who sent a request, for which host and over what: what the peer itself asked for, unless
// it is a trusted proxy that tells more. host is the one that the peer asked for.
func (t *Trust) Forwarding(h http.Header, host string, p *Peer) Forwarding {
	if !t.Trusts(p.Addr) {
		return Forwarding{Client: p.Addr, host: host, proto: p.Scheme}
	}
	f := readForwarding(h, host, p.Scheme, t.Trusts)
	if !f.Client.IsValid() {
		f.Client = p.Addr
	}
	return f
}

// The schemes a client may have used.
const (
	HTTP  = "http"
	HTTPS = "https"
)
