package proxy

import (
	"net/http"
	"strings"
)

// hopByHop are the fields that concern one connection (RFC 9110 §7.6.1), those that name the proxy
// itself, and those that HTTP/1.0 proxies invented; both directions drop them.
var hopByHop = map[string]bool{
	"Connection": true, "Proxy-Connection": true, "Keep-Alive": true, "Te": true,
	"Trailer": true, "Transfer-Encoding": true, "Upgrade": true,
	"Proxy-Authenticate": true, "Proxy-Authorization": true,
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
	u := r.Header.Get("Upgrade")
	if namedIn([]string{u}, "h2c") {
		return ""
	}
	return u
}
