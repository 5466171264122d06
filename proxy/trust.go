package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

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

// peer is who is connected, in the forms that each request on the connection needs.
type peer struct {
	addr    netip.Addr // IPv4 as such, without zone
	text    string
	port    int
	trusted bool // a proxy whose forwarding fields are believed
}

func (t *trust) peer(a netip.AddrPort) peer {
	addr := a.Addr().Unmap().WithZone("")
	return peer{addr: addr, text: addr.String(), port: int(a.Port()), trusted: contains(t.prefixes, addr)}
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
}

// client returns who asked, as address and text: the peer, or whom a trusted one says it asked for.
func (t *trust) client(r *http.Request, p *peer) (netip.Addr, string) {
	if !p.trusted {
		return p.addr, p.text
	}
	s := t.legacy
	if len(r.Header["X-Forwarded-For"]) == 0 {
		s = t.standard
	}
	a, err := netip.ParseAddr(s.ClientIP(r.Header, r.RemoteAddr))
	if err != nil {
		return p.addr, p.text
	}
	a = a.Unmap().WithZone("")
	return a, a.String()
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
		return func(r *http.Request) bool { return !connOf(r.Context()).peer.trusted }
	case trustNone:
		return func(*http.Request) bool { return true }
	}
	return nil
}

// requestID returns the id that a trusted proxy gave the request, or a new one.
func requestID(r *http.Request, trusted bool) string {
	if id := r.Header.Get(requestIDField); trusted && validRequestID(id) {
		return id
	}
	var id [16]byte
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	return hex.EncodeToString(id[:])
}

// validRequestID bounds what is handed on into logs and to backends.
func validRequestID(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c >= 0x7f })
}
