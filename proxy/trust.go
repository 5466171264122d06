package proxy

import (
	"encoding/hex"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"math/rand/v2"

	"github.com/realclientip/realclientip-go"
)

const requestIDField = "X-Request-Id"

// forwarding are the fields in which proxies hand on what they saw; only trusted ones are believed.
var forwarding = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-Ip"}

// trust knows which proxies are believed, and reads from them who asked.
type trust struct {
	prefixes []netip.Prefix
	legacy   realclientip.Strategy // X-Forwarded-For, rightmost address that is not a trusted proxy
	standard realclientip.Strategy // Forwarded (RFC 7239), likewise
}

func newTrust(prefixes []netip.Prefix) *trust {
	nets := make([]net.IPNet, len(prefixes))
	for i, p := range prefixes {
		p = p.Masked()
		nets[i] = net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
	}
	return &trust{
		prefixes: prefixes,
		legacy:   realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy("X-Forwarded-For", nets)),
		standard: realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy("Forwarded", nets)),
	}
}

// of says whether the peer is a trusted proxy.
func (t *trust) of(peer netip.Addr) bool { return contains(t.prefixes, peer) }

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// client returns who asked: the peer, or whom a trusted peer says it asked for.
func (t *trust) client(r *http.Request, peer netip.AddrPort, trusted bool) netip.Addr {
	if !trusted {
		return peer.Addr()
	}
	s := t.legacy
	if len(r.Header["X-Forwarded-For"]) == 0 {
		s = t.standard
	}
	a, err := netip.ParseAddr(s.ClientIP(r.Header, r.RemoteAddr))
	if err != nil {
		return peer.Addr()
	}
	return a
}

// Trusts are the words for whose traceparent is continued.
var Trusts = []string{trustAll, trustTrusted, trustNone}

const (
	trustAll     = "all"
	trustTrusted = "trusted"
	trustNone    = "none"
)

// public returns which requests' traces are not continued but linked to; nil: all are continued.
func (t *trust) public(word string) func(*http.Request) bool {
	switch word {
	case trustTrusted:
		return func(r *http.Request) bool { return !t.of(peerOf(r).Addr()) }
	case trustNone:
		return func(*http.Request) bool { return true }
	}
	return nil
}

// peerOf returns who is connected.
func peerOf(r *http.Request) netip.AddrPort {
	p, _ := netip.ParseAddrPort(r.RemoteAddr)
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// requestID returns the id that a trusted proxy gave the request, or a new one.
func requestID(r *http.Request, trusted bool) string {
	if id := r.Header.Get(requestIDField); trusted && validRequestID(id) {
		return id
	}
	var id [16]byte
	for i := range id {
		id[i] = byte(rand.Uint32())
	}
	return hex.EncodeToString(id[:])
}

// validRequestID bounds what is handed on into logs and to backends.
func validRequestID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
