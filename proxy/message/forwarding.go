package message

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Forwarding is who sent a request, for which host and with which scheme, as far as the trusted proxies in front
// of pace tell. It is made once per request. pace's own signals and both families of forwarding fields are
// made from it, so that they all say the same.
type Forwarding struct {
	Client netip.Addr // invalid: the proxies do not tell
	host   string     // "": the request named none
	proto  string     // the scheme, in lower case

	hops      []hop     // from the client's to the one before the peer's
	legacy    []string  // elements of X-Forwarded-For as they came; nil: it is made from hops
	forwarded []element // elements of Forwarded as they came
	rebuild   bool      // Forwarded is made from hops instead of passed on
}

// hop is what one proxy says of the node that sent it the request.
type hop struct {
	addr   netip.Addr // invalid: it names no address
	silent bool       // it says nothing of the node at all
}

// readForwarding reads what a trusted proxy says in X-Forwarded-For, -Host, -Proto and Forwarded. host is the one
// that the proxy asked pace for, and scheme what it spoke. Each fact is taken from the X-Forwarded field if it is there, else from
// Forwarded (RFC 7239 §7.4). isProxy reports whether an address is a trusted proxy's.
func readForwarding(h http.Header, host, scheme string, isProxy func(netip.Addr) bool) Forwarding {
	f := Forwarding{
		host:      host,
		proto:     scheme,
		legacy:    parseList(h["X-Forwarded-For"]),
		forwarded: parseForwarded(h["Forwarded"]),
	}
	if f.hops = hopsOf(f.legacy); len(f.hops) == 0 {
		f.hops = hopsIn(f.forwarded)
	}
	client, at := whoAsked(f.hops, isProxy)
	f.Client = client

	hosts, protos := parseList(h["X-Forwarded-Host"]), parseList(h["X-Forwarded-Proto"])
	if s := f.claimed(hosts, at, func(e element) string { return e.host }); s != "" {
		f.host = s
	}
	if s := f.claimed(protos, at, func(e element) string { return e.proto }); isScheme(s) {
		f.proto = strings.ToLower(s)
	}
	f.rebuild = !f.forwardedAgrees(len(hosts) > 0, len(protos) > 0, isProxy)
	return f
}

func hopsOf(list []string) []hop {
	hops := make([]hop, len(list))
	for i, node := range list {
		hops[i].addr = nodeAddress(node)
	}
	return hops
}

func hopsIn(list []element) []hop {
	hops := make([]hop, len(list))
	for i, e := range list {
		hops[i] = hop{addr: nodeAddress(e.node), silent: e.node == "" && e.readable}
	}
	return hops
}

// whoAsked returns the rightmost address that is no trusted proxy, or the leftmost if all are, and which
// hop tells it. A hop that tells no address ends the search, and nobody is known.
func whoAsked(hops []hop, isProxy func(netip.Addr) bool) (client netip.Addr, at int) {
	for i, hop := range slices.Backward(hops) {
		client, at = hop.addr, i
		if !client.IsValid() || !isProxy(client) {
			break
		}
	}
	return client, at
}

// claimed returns a fact about the client's own request: from an X-Forwarded field, whose elements are list,
// or from Forwarded if list is empty. If there are as many elements as hops, the client's counts, which is
// the one at at. Otherwise the first one counts.
func (f *Forwarding) claimed(list []string, at int, fact func(element) string) string {
	if len(list) == 0 {
		if len(f.forwarded) != len(f.hops) {
			at = 0
		}
		for _, e := range f.forwarded[min(at, len(f.forwarded)):] {
			if s := fact(e); s != "" {
				return s
			}
		}
		return ""
	}
	if len(list) != len(f.hops) {
		at = 0
	}
	return list[at]
}

// forwardedAgrees reports whether Forwarded may pass as it came: it follows the grammar, and it says nothing
// that differs from the X-Forwarded fields that came with it.
func (f *Forwarding) forwardedAgrees(hostClaimed, protoClaimed bool, isProxy func(netip.Addr) bool) bool {
	for _, e := range f.forwarded {
		otherHost := hostClaimed && e.host != "" && !strings.EqualFold(e.host, f.host)
		otherProto := protoClaimed && e.proto != "" && !strings.EqualFold(e.proto, f.proto)
		if !e.strict || otherHost || otherProto {
			return false
		}
	}
	if len(f.legacy) == 0 {
		return true
	}
	if len(f.forwarded) == 0 {
		return false
	}
	mine := hopsIn(f.forwarded)
	client, _ := whoAsked(mine, isProxy)
	return client == f.Client && isPartOf(mine, f.hops)
}

// isPartOf reports whether all hops are among those of whole, in the same order.
func isPartOf(hops, whole []hop) bool {
	for _, h := range hops {
		i := slices.IndexFunc(whole, func(w hop) bool { return w.addr == h.addr })
		if i < 0 {
			return false
		}
		whole = whole[i+1:]
	}
	return true
}

// Scheme returns the scheme for pace's own signals: one of two, whatever the proxies say.
func (f *Forwarding) Scheme() string {
	if f.proto == HTTPS {
		return HTTPS
	}
	return HTTP
}

// AppendFields appends X-Forwarded-For, -Host and -Proto, and Forwarded, with peer as the nearest hop.
func (f *Forwarding) AppendFields(b []byte, peer *Peer) []byte {
	b = append(b, "X-Forwarded-For: "...)
	b = f.appendLegacy(b)
	b = append(append(b, peer.Text...), "\r\n"...)
	if f.host != "" {
		b = append(append(append(b, "X-Forwarded-Host: "...), f.host...), "\r\n"...)
	}
	b = append(append(append(b, "X-Forwarded-Proto: "...), f.proto...), "\r\nForwarded: "...)
	b = f.appendForwarded(b)
	return append(f.appendElement(b, peer.Addr, true), "\r\n"...)
}

// appendLegacy appends the elements of X-Forwarded-For before pace's own.
func (f *Forwarding) appendLegacy(b []byte) []byte {
	for _, node := range f.legacy {
		b = append(append(b, node...), ", "...)
	}
	if f.legacy != nil {
		return b
	}
	for _, h := range f.hops {
		switch {
		case h.addr.IsValid():
			b = append(h.addr.AppendTo(b), ", "...)
		case !h.silent:
			b = append(b, "unknown, "...)
		}
	}
	return b
}

// appendForwarded appends the elements of Forwarded before pace's own. If it makes them itself, each has
// the same proto, because some backends read the first element and some the last. Only the first has the
// host, which may be long.
func (f *Forwarding) appendForwarded(b []byte) []byte {
	if !f.rebuild {
		for _, e := range f.forwarded {
			b = append(append(b, e.text...), ", "...)
		}
		return b
	}
	first := true
	for _, h := range f.hops {
		if !h.silent {
			b = append(f.appendElement(b, h.addr, first), ", "...)
			first = false
		}
	}
	return b
}

// appendElement appends one element of Forwarded.
func (f *Forwarding) appendElement(b []byte, node netip.Addr, withHost bool) []byte {
	switch {
	case !node.IsValid():
		b = append(b, "for=unknown"...)
	case node.Is6():
		b = append(node.AppendTo(append(b, `for="[`...)), `]"`...)
	default:
		b = node.AppendTo(append(b, "for="...))
	}
	if withHost && f.host != "" {
		b = appendQuoted(append(b, ";host="...), f.host)
	}
	return append(append(b, ";proto="...), f.proto...)
}

// appendQuoted appends s as a quoted string (RFC 9110 §5.6.4), which a host with a port needs.
func appendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			b = append(b, '\\')
		}
		b = append(b, s[i])
	}
	return append(b, '"')
}
