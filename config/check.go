package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
)

// refusal is what is wrong with a value and how to mend it.
type refusal struct{ what, mend string }

// checks are the names that an is tag may have. A check returns the value as it goes into the
// Config, which may be another spelling of what was written.
var checks = map[string]func(string) (string, *refusal){
	"":          func(s string) (string, *refusal) { return s, nil },
	"address":   address,
	"backend":   backend,
	"path":      pagePath,
	"collector": collector,
	"header":    headerName,
	"value":     headerValue,
	"parameter": parameter,
	"file":      fileName,
}

// checkNamed finds a check; with "?" behind its name it lets the empty string pass.
func checkNamed(name string) func(string) (string, *refusal) {
	name, mayBeEmpty := strings.CutSuffix(name, "?")
	check, ok := checks[name]
	if !ok {
		panic("pace: BUG: no check named " + name)
	}
	if !mayBeEmpty {
		return check
	}
	return func(s string) (string, *refusal) {
		if s == "" {
			return "", nil
		}
		return check(s)
	}
}

// address is host:port, the host possibly empty (all interfaces), the port a number.
func address(s string) (string, *refusal) {
	if s == "" {
		return "", &refusal{"no address", `write host:port, such as "0.0.0.0:8080"`}
	}
	return hostPort(s, "8080")
}

// hostPort is host:port in its usual spelling; a cure suggests the port.
func hostPort(s, suggested string) (string, *refusal) {
	host, port, bad := splitHostPort(s)
	if bad != nil {
		return "", bad
	}
	if port == "" {
		return "", &refusal{quote(s) + " has no port", "write " + quote(net.JoinHostPort(host, suggested))}
	}
	return net.JoinHostPort(host, port), nil
}

// backend is http://host[:port] and nothing more; it becomes host:port.
func backend(s string) (string, *refusal) {
	const form = `write http://host:port, such as "http://127.0.0.1:8000"`
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		if plain, bad := hostPort(s, ""); bad == nil && plain[0] != ':' {
			return "", &refusal{"no scheme in " + quote(s), "write " + quote("http://"+s)}
		}
		return "", &refusal{redacted(s) + " is not an http:// URL", form}
	case strings.EqualFold(scheme, "https"):
		return "", &refusal{"https to backends is not yet supported: " + redacted(s), "write an http:// URL"}
	case !strings.EqualFold(scheme, "http"):
		return "", &refusal{redacted(s) + " is not an http:// URL", form}
	}
	if what, bare := tooMuch(rest); what != "" {
		if _, bad := backend("http://" + bare); bad != nil {
			return "", &refusal{what + " in " + redacted(s), form}
		}
		return "", &refusal{what + " in " + redacted(s), "write " + quote("http://"+bare)}
	}
	host, port, bad := splitHostPort(rest)
	switch {
	case bad != nil:
		return "", bad
	case host == "":
		return "", &refusal{"no host in " + quote(s), form}
	case port == "0":
		return "", &refusal{"port 0 in " + quote(s), "write a port from 1 to 65535"}
	}
	return net.JoinHostPort(host, cmp.Or(port, "80")), nil
}

// tooMuch names what a URL has besides host and port, and gives those two alone. rest is the
// URL without scheme.
func tooMuch(rest string) (what, bare string) {
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		what = map[byte]string{'/': "a path", '?': "a query", '#': "a fragment"}[rest[i]]
		rest = rest[:i]
	}
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		what, rest = "credentials", rest[i+1:]
	}
	return what, rest
}

// redacted quotes a URL without credentials, since faults go to terminals and logs.
func redacted(s string) string {
	end := strings.LastIndexByte(s, '@')
	if end < 0 {
		return quote(s)
	}
	scheme, _, ok := strings.Cut(s[:end], "://")
	if !ok {
		return quote("…" + s[end:])
	}
	return quote(scheme + "://…" + s[end:])
}

// splitHostPort takes host[:port] apart and puts both into their usual spelling; port is ""
// if none is written.
func splitHostPort(s string) (host, port string, bad *refusal) {
	if _, err := netip.ParseAddr(s); err == nil && strings.Contains(s, ":") {
		return "", "", &refusal{"IPv6 address without brackets: " + quote(s), `put it into brackets, as in "[::1]:8080"`}
	}
	host, port, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') && (s[0] != '[' || strings.Contains(s, "]")) {
		host, port, found = s[:i], s[i+1:], true
	}
	if found {
		if port, bad = portNumber(s, port); bad != nil {
			return "", "", bad
		}
	}
	host, bad = hostName(host)
	return host, port, bad
}

func portNumber(s, port string) (string, *refusal) {
	const mend = "write a port from 1 to 65535"
	n, err := strconv.ParseUint(port, 10, 64)
	switch {
	case port == "":
		return "", &refusal{"no port after the colon in " + quote(s), mend}
	case strings.Trim(port, "0123456789") != "":
		return "", &refusal{"port " + quote(port) + " is not a number", mend}
	case err != nil || n > 65535:
		return "", &refusal{"port " + port + " is above 65535", mend}
	}
	return strconv.FormatUint(n, 10), nil
}

// hostName checks a host and gives its usual spelling: lower case, an address as netip prints
// it, an IPv4-mapped one as IPv4, all without brackets. "" stays "".
func hostName(host string) (string, *refusal) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(strings.Replace(inner, "%25", "%", 1))
		if !closed || err != nil || !a.Is6() {
			return "", &refusal{"no IPv6 address in the brackets of " + quote(host), `write it as in "[::1]:8080"`}
		}
		return a.Unmap().String(), nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String(), nil
	}
	last := host[strings.LastIndexByte(strings.TrimSuffix(host, "."), '.')+1:]
	switch {
	case host == "":
		return "", nil
	case len(host) > 253 || slices.ContainsFunc(strings.Split(strings.TrimSuffix(host, "."), "."), badLabel):
		return "", &refusal{quote(host) + " is not a host name", "write a name of letters, digits, hyphens and dots (an international one in its xn-- form), or an address"}
	case strings.Trim(last, "0123456789.") == "":
		// "10.0.0.300" and "10.1" resolve to whatever the resolver makes of them, so no.
		return "", &refusal{quote(host) + " is not an IP address", "write four numbers from 0 to 255, apart by dots"}
	}
	return strings.ToLower(host), nil
}

// badLabel refuses what cannot stand between the dots of a host name (RFC 1123 §2.1, and the
// underscore, which container networks use).
func badLabel(s string) bool {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	}
	return s == "" || len(s) > 63 || s[0] == '-' || s[len(s)-1] == '-' || strings.ContainsFunc(s, odd)
}

// network is a CIDR without host bits.
func network(s string) (netip.Prefix, *refusal) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.Prefix{}, &refusal{quote(s) + " is an address, not a network", "write " + quote(netip.PrefixFrom(a, a.BitLen()).String())}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, &refusal{quote(s) + " is not a network", `write address/bits, such as "10.0.0.0/8" or "fd00::/8"`}
	case p.Addr().Is4In6() && p.Bits() >= 96:
		// Peers are compared as IPv4, so this one would never match any.
		four := netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
		return p, &refusal{quote(s) + " is an IPv4 network written as IPv6", "write " + quote(four.String())}
	case p != p.Masked():
		return p, &refusal{quote(s) + " has bits set behind its first " + strconv.Itoa(p.Bits()), "write " + quote(p.Masked().String())}
	}
	return p, nil
}

// pagePath is an absolute path that needs no escaping and that no client can spell in two ways.
func pagePath(s string) (string, *refusal) {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/"
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", &refusal{quote(s) + ` does not start with "/"`, "write " + quote("/"+s)}
	case strings.Trim(s, safe) != "" || strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(safe, r) }):
		return "", &refusal{quote(s) + " is not a plain path", "write letters, digits, - . _ and / only, without query or fragment"}
	case s == "/":
		return "", &refusal{`"/" would hide the backends' own front page`, `write a path such as "/metrics"`}
	case path.Clean(s) != s:
		return "", &refusal{quote(s) + " is not in its shortest form", "write " + quote(path.Clean(s))}
	}
	return s, nil
}

// collector is host:port, or a URL with scheme http or https, a port, and perhaps a path.
func collector(s string) (string, *refusal) {
	if !strings.Contains(s, "://") {
		if strings.HasPrefix(s, ":") {
			return "", &refusal{"no host in " + quote(s), "write " + quote("127.0.0.1"+s)}
		}
		return hostPort(s, "4317")
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return "", &refusal{redacted(s) + " is not an http or https URL", `write it as in "http://127.0.0.1:4317"`}
	case u.User != nil:
		return "", &refusal{"credentials in " + redacted(s), "take them out; OTEL_EXPORTER_OTLP_HEADERS can carry them"}
	case strings.ContainsAny(s, "?#"):
		return "", &refusal{"a query or fragment in " + redacted(s), "write the URL without it"}
	}
	host, port, bad := splitHostPort(u.Host)
	switch {
	case bad != nil:
		return "", bad
	case host == "":
		return "", &refusal{"no host in " + redacted(s), `write it as in "http://127.0.0.1:4317"`}
	case port == "" || port == "0":
		return "", &refusal{"no port in " + redacted(s), "write the collector's, such as " + quote(u.Scheme+"://"+net.JoinHostPort(host, "4317"))}
	}
	return s, nil
}

// parameter is the name of a query parameter.
func parameter(s string) (string, *refusal) {
	if s == "" || strings.ContainsAny(s, "&=?#") {
		return "", &refusal{quote(s) + " is not the name of a parameter", `write the name alone, such as "page"`}
	}
	return s, nil
}

func fileName(s string) (string, *refusal) {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", &refusal{"a control character in " + quote(s), "write a plain path"}
	}
	return s, nil
}
