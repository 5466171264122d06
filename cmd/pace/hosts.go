package main

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"pace/config"
)

// hosts are the names under which the admin listener may be asked, in lower case. The page of a stranger
// can make its visitor's browser ask a listener that only the visitor reaches: the stranger lets his own
// name resolve to its address (DNS rebinding). Such a request has the stranger's name in Host.
type hosts []string

// ownHosts are those of a configuration: the listener's own name, the machine's, and admin.hosts.
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

// guard refuses requests whose Host is none of the listener's. On loopback that is localhost, an address
// of loopback, or one of hosts; elsewhere any address will do, for nobody can rebind an address.
func (h hosts) guard(next http.Handler, listener net.Addr) http.Handler {
	at, _ := netip.ParseAddrPort(listener.String())
	loopback := at.Addr().Unmap().IsLoopback()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !h.allow(r.Host, loopback) {
			http.Error(w, "the admin listener does not answer to this Host; ask it by its address, or add the name to admin.hosts", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allow reports whether a request with this Host is answered. Without one no browser has sent it.
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

// bareHost is a host without port, brackets and the dot at its end, in lower case.
func bareHost(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	} else if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		host = host[1 : len(host)-1]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}
