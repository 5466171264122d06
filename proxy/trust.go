package proxy

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
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

// client returns who asked, as address and text: the peer, or whom a trusted one says it asked for.
// That is the rightmost address that is no trusted proxy, or the leftmost if all are. What is no
// address ends the search with nothing.
func (t *trust) client(r *http.Request, p *peer) (netip.Addr, string) {
	if !p.trusted {
		return p.addr, p.text
	}
	field := legacy
	if len(r.Header[field.name]) == 0 {
		field = standard
	}
	client := p.addr
	for _, element := range slices.Backward(strings.Split(strings.Join(r.Header[field.name], ","), ",")) {
		a, err := field.address(element)
		if err != nil {
			return p.addr, p.text
		}
		if client = a.Unmap().WithZone(""); !contains(t.prefixes, client) {
			break
		}
	}
	return client, client.String()
}

// whoAsked is a field in which each proxy names whom it was asked by.
type whoAsked struct {
	name   string
	reader realclientip.Strategy // of a list of one element
}

var legacy, standard = newWhoAsked("X-Forwarded-For"), newWhoAsked("Forwarded") // RFC 7239

func newWhoAsked(name string) whoAsked {
	return whoAsked{name, realclientip.Must(realclientip.NewRightmostTrustedRangeStrategy(name, nil))}
}

func (f whoAsked) address(element string) (netip.Addr, error) {
	return netip.ParseAddr(f.reader.ClientIP(http.Header{f.name: {element}}, ""))
}

// The schemes a client may have used. pace itself speaks plain HTTP alone.
const (
	plainHTTP = "http"
	https     = "https"
)

// scheme returns the one that the client used, as far as a trusted proxy says so.
func (p *peer) scheme(r *http.Request) string {
	if p.trusted && strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), https) {
		return https
	}
	return plainHTTP
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
