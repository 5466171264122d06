package server

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"pace/config"
)

// hosts are the names that the admin listener accepts in Host, in lower case. They protect it from DNS
// rebinding: a web page whose own name resolves to the listener's address can make a browser send requests
// there, even if only the browser's machine can reach it. Such a request has the page's name in Host.
type hosts []string

// ownHosts returns the listener's own name, the machine's name, and those in admin.hosts.
func ownHosts(a config.Admin) hosts {
	names := slices.Clone(a.Hosts)
	if host, _, err := net.SplitHostPort(a.Listen); err == nil && host != "" {
		names = append(names, bareHost(host))
	}
	if name, err := os.Hostname(); err == nil {
		names = append(names, bareHost(name))
	}
	return names
}

// isLoopback reports whether only the machine itself reaches the listener.
func isLoopback(listener net.Addr) bool {
	at, _ := netip.ParseAddrPort(listener.String())
	return at.Addr().Unmap().IsLoopback()
}

const notOurHost = "the admin listener does not accept this Host; use its address, or add the name to admin.hosts"

// allow reports whether a request with this Host is accepted. A browser always sends one. A listener on loopback
// accepts localhost, loopback addresses and the names in h. Any other listener accepts every address, because an
// address cannot be rebound, and the same names.
func (h hosts) allow(host string, loopback bool) bool {
	if host == "" {
		return true
	}
	host = bareHost(host)
	if a, err := netip.ParseAddr(host); err == nil && (!loopback || a.Unmap().IsLoopback()) {
		return true
	}
	return host == "localhost" || slices.Contains(h, host)
}

// bareHost returns a host in lower case, without port, brackets and a dot at its end.
func bareHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
