package proxy

import (
	"net/http"
	"slices"
	"strings"
)

// hopByHop are the fields that concern one connection (RFC 9110 §7.6.1), those that name the proxy
// itself, and those that HTTP/1.0 proxies invented; both directions drop them.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true,
}

// exchangesOwn are the fields that the exchange writes itself (exchange.Request.Fields).
var exchangesOwn = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Expect", "Te", "Trailer"}

// inHeaderOnly are the fields that come too late in a trailer: those of framing, routing, authentication
// and the content, modifiers of requests and control data (RFC 9110 §6.5.1).
var inHeaderOnly = map[string]bool{
	"Content-Length": true, "Content-Encoding": true, "Content-Type": true, "Content-Range": true, "Host": true,
	"Authorization": true, "Www-Authenticate": true, "Cookie": true, "Set-Cookie": true,
	"Cache-Control": true, "Expect": true, "Max-Forwards": true, "Pragma": true, "Range": true,
	"If-Match": true, "If-None-Match": true, "If-Modified-Since": true, "If-Unmodified-Since": true, "If-Range": true,
	"Age": true, "Expires": true, "Date": true, "Location": true, "Retry-After": true, "Vary": true, "Warning": true,
}

// replaced are the fields that pace drops from every request, because it writes its own. Proxy is among
// them because CGI passes it on as HTTP_PROXY, which programs take for the proxy that they should use.
var replaced = []string{"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "Proxy"}

// passes reports whether a field of the request goes on as it came.
func (q *request) passes(name string) bool {
	read := asRead(name)
	switch {
	case q.h.strip[read], namedIn(q.r.Header["Connection"], name):
		return false
	case isProxyField(read): // the trusted proxy may have passed another spelling on from a client
		return q.peer.trusted && read == name
	}
	return true
}

// asRead returns the canonical name that CGI and its kin may take name for: to them, all bytes but
// letters and digits are one (RFC 3875 §4.1.18; some take more than hyphens for it).
func asRead(name string) string {
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

// otherHost says whether a Host field names another host than the one that the request goes to.
// Only by HTTP/2 can a request have both.
func (q *request) otherHost() bool {
	return slices.ContainsFunc(q.r.Header["Host"], func(host string) bool { return !sameHost(host, q.r.Host, q.rec.Scheme) })
}

// sameHost compares hosts as the scheme does (RFC 9113 §8.3.1): its own port need not be said.
func sameHost(a, b, scheme string) bool {
	port := ":80"
	if scheme == https {
		port = ":443"
	}
	bare := func(host string) string { return strings.TrimSuffix(strings.TrimSuffix(host, port), ":") }
	return strings.EqualFold(bare(a), bare(b))
}

// staysBehind says whether a field is hop-by-hop, of itself or by the message's Connection fields.
func staysBehind(name string, connection []string) bool {
	return hopByHop[name] || namedIn(connection, name)
}

// namedIn says whether the Connection fields list name, which makes it hop-by-hop too.
func namedIn(connection []string, name string) bool {
	for _, field := range connection {
		for token := range strings.SplitSeq(field, ",") {
			if strings.EqualFold(strings.TrimSpace(token), name) {
				return true
			}
		}
	}
	return false
}

// upgradeOf returns the protocol a request asks to switch to, "" for none. Cleartext HTTP/2 is
// none: both sides of pace choose their own HTTP version.
func upgradeOf(r *http.Request) string {
	if r.ProtoMajor != 1 || r.ProtoMinor == 0 || !namedIn(r.Header["Connection"], "upgrade") {
		return ""
	}
	list := r.Header["Upgrade"]
	if namedIn(list, "h2c") {
		return ""
	}
	return strings.Join(list, ", ")
}
