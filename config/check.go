package config

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"pace/config/toml"
)

// A check returns a string in the spelling that goes into the Config, or why it is refused. The sample
// is a string that passes for this key; remedies take from it what is missing.
type check func(s, sample string) (string, *refusal)

// checks are the names that an is tag may have. The sample is for keys without a default.
var checks = map[string]struct {
	check  check
	sample string
}{
	"":          {func(s, _ string) (string, *refusal) { return s, nil }, "text"},
	"address":   {address, "127.0.0.1:8080"},
	"backend":   {backendURL, "http://127.0.0.1:8000"},
	"pattern":   {pattern, "GET /users/{id}"},
	"name":      {name, "default"},
	"label":     {label, "users"},
	"condition": {fieldName, anotherHeader},
	"field":     {fieldName, anotherHeader},
	"split_by":  {splitBy, "cookie:session"},
	"location":  {location, "https://new.example/"},
	"body":      {func(s, _ string) (string, *refusal) { return s, nil }, "text"},
	"prefix":    {prefix, "/api"},
	"authority": {authority, "keep"},
	"host":      {hostAlone, "pace.example.com"},
	"path":      {pagePath, "/metrics"},
	"collector": {collector, "127.0.0.1:4317"},
	"header":    {headerName, anotherHeader},
	"value":     {headerValue, "pace"},
	"parameter": {parameter, "page"},
	"file":      {fileName, "/var/log/pace.log"},
}

const anotherHeader = "X-Served-By"

// checkNamed finds a check; with "?" after its name it lets the empty string pass.
func checkNamed(name string) check {
	name, mayBeEmpty := strings.CutSuffix(name, "?")
	c, ok := checks[name]
	if !ok {
		panic("pace: BUG: no check named " + name)
	}
	if !mayBeEmpty {
		return c.check
	}
	return func(s, sample string) (string, *refusal) {
		if s == "" {
			return "", nil
		}
		return c.check(s, sample)
	}
}

// sampleOf is a string that passes a field's check: its default, if it has one.
func sampleOf(f reflect.StructField) string {
	name, _ := strings.CutSuffix(f.Tag.Get("is"), "?")
	switch {
	case f.Type == reflect.TypeFor[[]netip.Prefix]():
		return "10.0.0.0/8"
	case f.Type.Kind() == reflect.String:
		return cmp.Or(f.Tag.Get("default"), checks[name].sample)
	}
	return checks[name].sample
}

// address is host:port, the host possibly empty (all interfaces), the port a number.
func address(s, sample string) (string, *refusal) {
	if s == "" {
		return "", &refusal{what: "the address is empty", form: "host:port"}
	}
	return hostPort(s, sample)
}

// hostPort is host:port in its usual spelling. Where one of the two is missing, the remedy takes it
// from the sample.
func hostPort(s, sample string) (string, *refusal) {
	if port, ok := barePort(s); ok {
		return "", &refusal{what: toml.Quote(s) + " is a port without an address", form: "host:port", instead: withPort(sample, port)}
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		_, bad := portNumber(s, "", s)
		return "", bad
	}
	host, port, bad := splitHostPort(s)
	if bad != nil {
		bad.form = cmp.Or(bad.form, "host:port")
		if bad.host != "" {
			_, port, _ := net.SplitHostPort(sample)
			bad.instead = net.JoinHostPort(bad.host, cmp.Or(bad.port, port))
		}
		return "", bad
	}
	if port == "" {
		_, port, _ := net.SplitHostPort(sample)
		return "", &refusal{what: toml.Quote(s) + " has no port", form: "host:port", instead: net.JoinHostPort(host, port)}
	}
	return net.JoinHostPort(host, port), nil
}

// barePort is a port that stands where an address is expected.
func barePort(s string) (port string, ok bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return strconv.FormatUint(n, 10), err == nil
}

// withPort is an address, or a URL without path, with another port.
func withPort(address, port string) string {
	return address[:strings.LastIndexByte(address, ':')+1] + port
}

// backendURL is a backend in the spelling that it has everywhere.
func backendURL(s, sample string) (string, *refusal) {
	b, bad := backend(s, sample)
	return b.URL(), bad
}

// backend is http://host[:port] and nothing more, or unix:/path.
func backend(s, sample string) (Backend, *refusal) {
	if path, is := strings.CutPrefix(s, "unix:"); is {
		path, bad := socketPath(path)
		return Backend{unixScheme, path, 1}, bad
	}
	address, bad := backendAddress(s, sample)
	return Backend{"http", address, 1}, bad
}

// socketPath is the absolute path of a socket.
func socketPath(s string) (string, *refusal) {
	const form = "unix: and the absolute path of a socket"
	const longest = 107 // bytes in sockaddr_un without the NUL at its end
	clean := "unix:" + path.Clean("/"+s)
	switch {
	case strings.Trim(s, "/") == "":
		return "", &refusal{what: "no path after unix:", form: form, instead: "unix:/run/app.sock"}
	case strings.ContainsFunc(s, isControl):
		return "", &refusal{what: "a control character in " + toml.Quote("unix:"+s), form: form}
	case len(s) > longest:
		return "", &refusal{what: "the path of the socket has " + strconv.Itoa(len(s)) + " bytes, and the system takes 107", form: "a shorter path"}
	case s[0] != '/':
		return "", &refusal{what: toml.Quote("unix:"+s) + " has no absolute path", form: form, instead: clean}
	case path.Clean(s) != s:
		return "", &refusal{what: toml.Quote("unix:"+s) + " is not in its shortest form", form: form, instead: clean}
	}
	return s, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// backendAddress is http://host[:port] and nothing more; it becomes host:port.
func backendAddress(s, sample string) (string, *refusal) {
	const form = "http://host:port"
	scheme, rest, ok := strings.Cut(s, "://")
	switch {
	case !ok:
		if port, is := barePort(strings.TrimPrefix(s, ":")); is {
			return "", &refusal{what: toml.Quote(s) + " is a port without a host", form: form, instead: withPort(sample, port)}
		}
		_, bare := tooMuch(s)
		if host, _, bad := splitHostPort(bare); bad == nil && host != "" {
			return "", &refusal{what: "no scheme in " + toml.Redact(s), form: form, instead: "http://" + bare}
		}
		return "", &refusal{what: toml.Redact(s) + " is not an http:// URL", form: form}
	case strings.EqualFold(scheme, "https"):
		return "", &refusal{what: "https to backends is not supported yet: " + toml.Redact(s), form: "an http:// URL"}
	case !strings.EqualFold(scheme, "http"):
		return "", &refusal{what: toml.Redact(s) + " is not an http:// URL", form: form}
	}
	if what, bare := tooMuch(rest); what != "" {
		return "", &refusal{what: what + " in " + toml.Redact(s), form: form, instead: "http://" + bare}
	}
	if port, is := barePort(strings.TrimPrefix(rest, ":")); is {
		return "", &refusal{what: "no host in " + toml.Quote(s), form: form, instead: withPort(sample, port)}
	}
	host, port, bad := splitHostPort(rest)
	switch {
	case bad != nil:
		bad.form = cmp.Or(bad.form, form)
		if bad.host != "" {
			bad.instead = "http://" + strings.TrimSuffix(net.JoinHostPort(bad.host, bad.port), ":")
		}
		return "", bad
	case host == "":
		return "", &refusal{what: "no host in " + toml.Quote(s), form: form}
	case port == "0":
		return "", &refusal{what: "port 0 in " + toml.Quote(s), form: "a port from 1 to 65535"}
	}
	return net.JoinHostPort(host, cmp.Or(port, "80")), nil
}

// tooMuch names what a URL has in addition to host and port, and returns only those two as bare. rest is
// the URL without scheme.
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

// splitHostPort splits host[:port] and returns both in their usual spelling; port is "" if none is
// written.
func splitHostPort(s string) (host, port string, bad *refusal) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		bad := &refusal{what: toml.Quote(s) + " is an IPv6 address without brackets", host: s}
		i := strings.LastIndexByte(s, ':')
		if n, is := barePort(s[i+1:]); is { // as in ::1:8080
			if _, err := netip.ParseAddr(s[:i]); err == nil {
				bad.host, bad.port = s[:i], n
			}
		}
		return "", "", bad
	}
	host, port, found := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') && (s[0] != '[' || strings.Contains(s, "]")) {
		host, port, found = s[:i], s[i+1:], true
	}
	if found {
		if port, bad = portNumber(s, host, port); bad != nil {
			return "", "", bad
		}
	}
	host, bad = hostName(host)
	return host, port, bad
}

func portNumber(s, host, port string) (string, *refusal) {
	const form = "a port from 1 to 65535"
	n, err := strconv.ParseUint(port, 10, 64)
	switch {
	case port == "":
		return "", &refusal{what: "no port after the colon in " + toml.Quote(s), form: form, host: host}
	case strings.Trim(port, "0123456789") != "":
		return "", &refusal{what: "port " + toml.Quote(port) + " is not a number", form: form}
	case err != nil || n > 65535:
		return "", &refusal{what: "port " + toml.Clip(port) + " is above 65535", form: form}
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
			return "", &refusal{what: "no IPv6 address in the brackets of " + toml.Quote(host)}
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
		return "", &refusal{
			what: toml.Quote(host) + " is not a host name",
			form: "letters, digits, hyphens and dots (an international name in its xn-- form), or an address",
		}
	case strings.Trim(last, "0123456789.") == "":
		// What "10.0.0.300" and "10.1" mean depends on the resolver, so they are refused.
		return "", &refusal{
			what: toml.Quote(host) + " is not an IP address",
			form: "four numbers from 0 to 255, separated by dots",
		}
	}
	return strings.ToLower(host), nil
}

// hostAlone is the name of a host, or an address, without port.
func hostAlone(s, _ string) (string, *refusal) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String(), nil
	}
	if name, _, ok := cutLast(s, ":"); ok && !strings.HasSuffix(s, "]") {
		return "", &refusal{what: toml.Quote(s) + " has a port", form: "the name alone", instead: name}
	}
	host, bad := hostName(strings.TrimSuffix(s, "."))
	if bad == nil && host == "" {
		bad = &refusal{what: toml.Quote(s) + " is not a host name", form: "a name"}
	}
	return host, bad
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
func network(s, _ string) (netip.Prefix, *refusal) {
	const form = "address/bits"
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.Prefix{}, &refusal{
			what:    toml.Quote(s) + " is an address, not a network",
			form:    form,
			instead: netip.PrefixFrom(a, a.BitLen()).String(),
		}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, &refusal{what: toml.Quote(s) + " is not a network", form: form}
	case p.Addr().Is4In6() && p.Bits() >= 96:
		// Peers are compared as IPv4, so this one would never match any.
		four := netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
		return p, &refusal{what: toml.Quote(s) + " is an IPv4 network written as IPv6", form: form, instead: four.String()}
	case p != p.Masked():
		return p, &refusal{
			what:    toml.Quote(s) + " has host bits set",
			form:    form,
			instead: p.Masked().String(),
			note:    ", the /" + strconv.Itoa(p.Bits()) + " network",
		}
	}
	return p, nil
}

// pagePath is an absolute path that needs no escaping and that no client can spell in two ways.
func pagePath(s, _ string) (string, *refusal) {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/"
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", &refusal{what: toml.Quote(s) + ` does not start with "/"`, form: "a path", instead: "/" + s}
	case strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(safe, r) }):
		return "", &refusal{
			what: toml.Quote(s) + " is not a plain path",
			form: "letters, digits, - . _ and / only, without query or fragment",
		}
	case s == "/":
		return "", &refusal{what: `"/" would hide the backends' own front page`, form: "a longer path"}
	case path.Clean(s) != s:
		return "", &refusal{what: toml.Quote(s) + " is not in its shortest form", form: "a path", instead: path.Clean(s)}
	}
	return s, nil
}

// collector is host:port, or a URL with scheme http or https, a port, and perhaps a path.
func collector(s, sample string) (string, *refusal) {
	const form = "host:port or http(s)://host:port"
	if !strings.Contains(s, "://") {
		if strings.HasPrefix(s, ":") {
			return "", &refusal{what: "no host in " + toml.Quote(s), form: form, instead: "127.0.0.1" + s}
		}
		if v, bad := hostPort(s, sample); bad != nil || !strings.HasSuffix(v, ":0") {
			return v, bad
		}
		return "", &refusal{what: "port 0 in " + toml.Quote(s), form: "a port from 1 to 65535"}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		_, rest, _ := strings.Cut(s, "://")
		return "", &refusal{what: toml.Redact(s) + " is not an http or https URL", form: form, instead: "http://" + rest}
	case u.User != nil:
		u.User = nil
		return "", &refusal{
			what:    "credentials in " + toml.Redact(s),
			form:    "a URL without them",
			instead: u.String(),
			note:    " and put the credentials into OTEL_EXPORTER_OTLP_HEADERS",
		}
	case strings.ContainsAny(s, "?#"):
		return "", &refusal{what: "a query or fragment in " + toml.Redact(s), form: form, instead: s[:strings.IndexAny(s, "?#")]}
	}
	host, port, bad := splitHostPort(u.Host)
	switch {
	case bad != nil:
		bad.form = cmp.Or(bad.form, form)
		return "", bad
	case host == "":
		u.Host = "127.0.0.1" + u.Host
		return "", &refusal{what: "no host in " + toml.Redact(s), form: form, instead: u.String()}
	case port == "" || port == "0":
		u.Host = net.JoinHostPort(host, "4317")
		return "", &refusal{what: "no port in " + toml.Redact(s), form: form, instead: u.String()}
	}
	return s, nil
}

// parameter is the name of a query parameter.
func parameter(s, _ string) (string, *refusal) {
	if s == "" || strings.ContainsAny(s, "&=?#") {
		return "", &refusal{what: toml.Quote(s) + " is not the name of a parameter", form: "the name alone"}
	}
	return s, nil
}

func fileName(s, _ string) (string, *refusal) {
	if strings.ContainsFunc(s, isControl) {
		return "", &refusal{
			what:    "a control character in " + toml.Quote(s),
			form:    "a path",
			instead: strings.Join(strings.FieldsFunc(s, isControl), ""),
		}
	}
	return s, nil
}
