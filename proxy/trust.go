package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

const requestIDField = "X-Request-Id"

// trust knows which proxies are believed, and reads from them who asked.
type trust struct {
	prefixes []netip.Prefix
}

func newTrust(prefixes []netip.Prefix) *trust { return &trust{prefixes} }

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

// asked returns who sent a request, for which host and over what: what the peer itself asked for, unless
// it is a trusted proxy that tells more.
func (t *trust) asked(r *http.Request, p *peer) asked {
	if !p.trusted {
		return asked{client: p.addr, host: r.Host, proto: plainHTTP}
	}
	a := askedBy(r.Header, r.Host, func(a netip.Addr) bool { return contains(t.prefixes, a) })
	if !a.client.IsValid() {
		a.client = p.addr
	}
	return a
}

// The schemes a client may have used. pace itself speaks plain HTTP alone.
const (
	plainHTTP = "http"
	https     = "https"
)

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
