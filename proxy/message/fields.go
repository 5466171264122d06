package message

import (
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// HopByHop reports whether a field concerns one connection (RFC 9110 §7.6.1), names the proxy itself, or was
// invented by HTTP/1.0 proxies; both directions drop such a field. name is canonical.
func HopByHop(name string) bool { return hopByHop[name] }

var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true,
}

// StaysBehind reports whether a field is hop-by-hop, of itself or by the message's Connection fields.
func StaysBehind(name string, connection []string) bool {
	return hopByHop[name] || Lists(connection, name)
}

// Lists reports whether fields that are lists of tokens, such as Connection, contain the token.
func Lists(fields []string, token string) bool {
	for _, field := range fields {
		for item := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// framing are the fields that whoever sends the request to a backend writes itself.
var framing = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Te", "Trailer"}

// replaced are the fields that pace drops from every request, because it writes its own. Proxy is among
// them because CGI passes it on as HTTP_PROXY, which programs take for the proxy that they should use.
var replaced = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Via", RequestIDField, "Proxy"}

// Filter knows which fields of a request go on to the backend. It is made once and only read.
type Filter struct {
	drops map[string]bool // by AsRead
}

// NewFilter returns a Filter that drops what concerns the client's connection, what pace writes itself, and
// the fields in own, which pace writes too because of its configuration. Names need not be canonical, and
// may be empty.
func NewFilter(own ...string) Filter {
	f := Filter{drops: map[string]bool{}}
	for name := range hopByHop {
		f.drops[AsRead(name)] = true
	}
	for _, name := range slices.Concat(framing, replaced, own) {
		f.drops[AsRead(http.CanonicalHeaderKey(name))] = true
	}
	return f
}

// Passes reports whether a field of a request's header goes on as it came. name is canonical, connection are
// the request's Connection fields, and trusted says whether it came from a trusted proxy.
func (f Filter) Passes(name string, connection []string, trusted bool) bool {
	read := AsRead(name)
	switch {
	case f.drops[read], Lists(connection, name):
		return false
	case IsProxyField(read): // the trusted proxy may have passed another spelling on from a client
		return trusted && read == name
	}
	return true
}

// PassesLate reports the same of a field of the trailer, where nobody looks for what proxies say.
func (f Filter) PassesLate(name string, connection []string) bool {
	read := AsRead(name)
	return f.Passes(name, connection, false) && !TooLate(read)
}

// Append appends the lines of the fields of a request's header that go on, and counts this hop in
// Max-Forwards, which must allow one. trusted says whether the request came from a trusted proxy. What rules
// remove does not go on.
func (f Filter) Append(b []byte, method string, h http.Header, trusted bool, rules *Rules) []byte {
	hops, counted := MaxForwards(method, h[MaxForwardsField])
	connection := h["Connection"]
	for name, values := range h {
		if !f.Passes(name, connection, trusted) || counted && name == MaxForwardsField || rules.Removes(name) {
			continue
		}
		for _, v := range values {
			b = AppendField(b, name, v)
		}
	}
	if counted { // also where the client's Connection field names it: it is for every proxy on the way
		b = AppendField(b, MaxForwardsField, strconv.FormatUint(hops-1, 10))
	}
	return b
}

// AppendField appends the line of a field.
func AppendField(b []byte, name, value string) []byte {
	return append(append(append(append(b, name...), ": "...), value...), "\r\n"...)
}

// Trailer returns the fields of a request's trailer that go on, without those that rules remove.
func (f Filter) Trailer(trailer http.Header, connection []string, rules *Rules) http.Header {
	kept := maps.Clone(trailer)
	maps.DeleteFunc(kept, func(name string, _ []string) bool { return !f.PassesLate(name, connection) || rules.Removes(name) })
	return kept
}

// AsRead returns the canonical name that CGI and its kin may take name for: to them, all bytes but
// letters and digits are one (RFC 3875 §4.1.18; some take more than hyphens for it).
func AsRead(name string) string {
	for i := range len(name) {
		if odd(rune(name[i])) {
			return http.CanonicalHeaderKey(strings.Map(func(c rune) rune {
				if odd(c) {
					return '-'
				}
				return c
			}, name))
		}
	}
	return name
}

func odd(c rune) bool {
	return c != '-' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
}
