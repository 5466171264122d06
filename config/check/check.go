// Package check says whether a string is what a key of the configuration needs: an address, a backend, a
// network, the name of a header. If it is not, it says what is wrong and what was most likely meant.
//
// It must not know the keys, or how a file is read.
package check

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"pace/config/toml"
)

// A Check returns a string in the spelling that goes into a configuration, or why it is refused. The sample
// is a string that passes for this key; what to write instead takes from it what is missing.
type Check func(s, sample string) (string, *Refusal)

// Refusal is what is wrong with a string, and what can be written in its place.
type Refusal struct {
	What    string // lower case, no full stop
	Instead string // what was most likely meant; "": nobody can say
	Form    string // what is to be written, in words, where Instead does not pass
	Note    string // what to say after Instead

	host, port string // of an address that can be made out in spite of all
}

// checks are all of them by name. The sample is for keys without a default.
var checks = map[string]struct {
	check  Check
	sample string
}{
	"":             {anything, "text"},
	"address":      {address, "127.0.0.1:8080"},
	"authority":    {authority, "keep"},
	"backend":      {backendURL, "http://127.0.0.1:8000"},
	"body":         {anything, "text"},
	"collector":    {collector, "127.0.0.1:4317"},
	"condition":    {FieldName, anotherHeader},
	"field":        {FieldName, anotherHeader},
	"cookie":       {cookieName, "backend"},
	"checked_host": {checkedHost, "app.example"},
	"checked_path": {checkedPath, "/healthz"},
	"directory":    {directory, "https://ca.example/directory"},
	"domain":       {domain, "www.example.com"},
	"email":        {email, "admin@example.com"},
	"file":         {fileName, "/var/log/pace.log"},
	"folder":       {folder, "/var/lib/pace/acme"},
	"hash_by":      {hashBy, "header:X-Tenant"},
	"header":       {headerName, anotherHeader},
	"host":         {hostAlone, "pace.example.com"},
	"label":        {label, "users"},
	"location":     {location, "https://new.example/"},
	"name":         {Name, "default"},
	"network":      {networkText, "10.0.0.0/8"},
	"parameter":    {parameter, "page"},
	"path":         {pagePath, "/metrics"},
	"pattern":      {pattern, "GET /users/{id}"},
	"prefix":       {prefix, "/api"},
	"split_by":     {splitBy, "cookie:session"},
	"statuses":     {statuses, "200-399"},
	"value":        {headerValue, "pace"},
}

const anotherHeader = "X-Served-By"

// Named returns a check; with "?" after its name it lets the empty string pass.
func Named(name string) Check {
	name, mayBeEmpty := strings.CutSuffix(name, "?")
	c, ok := checks[name]
	if !ok {
		panic("pace: BUG: no check named " + name)
	}
	if !mayBeEmpty {
		return c.check
	}
	return func(s, sample string) (string, *Refusal) {
		if s == "" {
			return "", nil
		}
		return c.check(s, sample)
	}
}

// Sample returns a string that passes the check of that name.
func Sample(name string) string { return checks[strings.TrimSuffix(name, "?")].sample }

func anything(s, _ string) (string, *Refusal) { return s, nil }

// Where an address that pace listens on is not host:port, it begins with one of these.
const (
	UnixPrefix = "unix:" // a socket in the file system
	FilePrefix = "fd:"   // a socket that systemd opened, by its name
)

// address is where pace listens: host:port, the host possibly empty (all interfaces) and the port a number,
// unix:/path, or fd:NAME.
func address(s, sample string) (string, *Refusal) {
	if s == "" {
		return "", &Refusal{What: "the address is empty", Form: "host:port"}
	}
	if path, is := strings.CutPrefix(s, UnixPrefix); is {
		path, bad := socketPath(path)
		return UnixPrefix + path, bad
	}
	if name, is := strings.CutPrefix(s, FilePrefix); is {
		return s, descriptorName(name)
	}
	v, bad := hostPort(s, sample)
	if strings.HasPrefix(v, UnixPrefix) || strings.HasPrefix(v, FilePrefix) { // it was written in capitals
		return "", &Refusal{What: toml.Quote(s) + " looks like a socket, not like a host", Form: "the host's address"}
	}
	return v, bad
}

// descriptorName checks the name of a socket from systemd (sd_listen_fds_with_names(3)).
func descriptorName(name string) *Refusal {
	const form = "fd: and the FileDescriptorName= of the socket's unit"
	const longest = 255
	switch odd := func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }; {
	case name == "":
		return &Refusal{What: "no name after fd:", Form: form, Instead: "fd:http"}
	case strings.ContainsFunc(name, odd):
		return &Refusal{What: toml.Quote(FilePrefix+name) + " is not a name that systemd allows", Form: form, Instead: "fd:http"}
	case len(name) > longest:
		return &Refusal{What: "the name has " + strconv.Itoa(len(name)) + " bytes, and systemd allows 255", Form: form, Instead: "fd:http"}
	}
	return nil
}

// hostPort is host:port in its usual spelling. Where one of the two is missing, the remedy takes it
// from the sample.
func hostPort(s, sample string) (string, *Refusal) {
	if port, ok := barePort(s); ok {
		return "", &Refusal{What: toml.Quote(s) + " is a port without an address", Form: "host:port", Instead: withPort(sample, port)}
	}
	if s != "" && strings.Trim(s, "0123456789") == "" {
		_, bad := portNumber(s, "", s)
		return "", bad
	}
	host, port, bad := splitHostPort(s)
	if bad != nil {
		bad.Form = cmp.Or(bad.Form, "host:port")
		if bad.host != "" {
			_, port, _ := net.SplitHostPort(sample)
			bad.Instead = net.JoinHostPort(bad.host, cmp.Or(bad.port, port))
		}
		return "", bad
	}
	if port == "" {
		_, port, _ := net.SplitHostPort(sample)
		return "", &Refusal{What: toml.Quote(s) + " has no port", Form: "host:port", Instead: net.JoinHostPort(host, port)}
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
func backendURL(s, sample string) (string, *Refusal) {
	scheme, address, bad := Backend(s, sample)
	return BackendURL(scheme, address), bad
}

// BackendURL is a backend as it is written.
func BackendURL(scheme, address string) string {
	if scheme == Unix {
		return "unix:" + address
	}
	return scheme + "://" + address
}

// Unix is the scheme of a backend that is a socket in the file system.
const Unix = "unix"

// BackendSchemes are the schemes of the backends that have a host and a port, with the port of each.
var BackendSchemes = map[string]string{
	"http":  "80",
	"https": "443", // TLS; HTTP/2 or HTTP/1.1, as the backend chooses
	"h2":    "443", // TLS; HTTP/2 only
	"h2c":   "80",  // HTTP/2 without TLS
}

// Backend is scheme://host[:port] and nothing more, or unix:/path. The address is host:port, or the path.
func Backend(s, sample string) (scheme, address string, bad *Refusal) {
	if path, is := strings.CutPrefix(s, "unix:"); is {
		path, bad := socketPath(path)
		return Unix, path, bad
	}
	return backendAddress(s, sample)
}

// socketPath is the absolute path of a socket.
func socketPath(s string) (string, *Refusal) {
	const form = "unix: and the absolute path of a socket"
	const longest = 107 // bytes in sockaddr_un without the NUL at its end
	clean := "unix:" + path.Clean("/"+s)
	switch {
	case strings.Trim(s, "/") == "":
		return "", &Refusal{What: "no path after unix:", Form: form, Instead: "unix:/run/app.sock"}
	case strings.ContainsFunc(s, isControl):
		return "", &Refusal{What: "a control character in " + toml.Quote("unix:"+s), Form: form}
	case len(s) > longest:
		return "", &Refusal{What: "the path of the socket has " + strconv.Itoa(len(s)) + " bytes, and the system takes 107", Form: "a shorter path"}
	case s[0] != '/':
		return "", &Refusal{What: toml.Quote("unix:"+s) + " has no absolute path", Form: form, Instead: clean}
	case path.Clean(s) != s:
		return "", &Refusal{What: toml.Quote("unix:"+s) + " is not in its shortest form", Form: form, Instead: clean}
	}
	return s, nil
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

// backendAddress is scheme://host[:port] and nothing more; it becomes host:port.
func backendAddress(s, sample string) (scheme, address string, bad *Refusal) {
	written, rest, ok := strings.Cut(s, "://")
	scheme = strings.ToLower(written)
	port, known := BackendSchemes[scheme]
	if !ok || !known {
		return "http", "", noBackendScheme(s, sample)
	}
	const form = "http://host:port"
	if what, bare := tooMuch(rest); what != "" {
		return scheme, "", &Refusal{What: what + " in " + toml.Redact(s), Form: form, Instead: scheme + "://" + bare}
	}
	if port, is := barePort(strings.TrimPrefix(rest, ":")); is {
		_, at, _ := strings.Cut(withPort(sample, port), "://")
		return scheme, "", &Refusal{What: "no host in " + toml.Quote(s), Form: form, Instead: scheme + "://" + at}
	}
	host, other, bad := splitHostPort(rest)
	switch {
	case bad != nil:
		bad.Form = cmp.Or(bad.Form, form)
		if bad.host != "" {
			bad.Instead = scheme + "://" + strings.TrimSuffix(net.JoinHostPort(bad.host, bad.port), ":")
		}
		return scheme, "", bad
	case host == "" && scheme == "http":
		return scheme, "", &Refusal{What: "no host in " + toml.Quote(s), Form: form}
	case host == "":
		return scheme, "", &Refusal{What: "no host in " + toml.Quote(s), Form: form, Instead: scheme + "://127.0.0.1"}
	case other == "0":
		return scheme, "", &Refusal{What: "port 0 in " + toml.Quote(s), Form: "a port from 1 to 65535"}
	}
	return scheme, net.JoinHostPort(host, cmp.Or(other, port)), nil
}

// noBackendScheme says why s is no backend, if it has no scheme, or none of a backend.
func noBackendScheme(s, sample string) *Refusal {
	const form = "http://host:port"
	if !strings.Contains(s, "://") {
		if port, is := barePort(strings.TrimPrefix(s, ":")); is {
			return &Refusal{What: toml.Quote(s) + " is a port without a host", Form: form, Instead: withPort(sample, port)}
		}
		_, bare := tooMuch(s)
		if host, _, bad := splitHostPort(bare); bad == nil && host != "" {
			return &Refusal{What: "no scheme in " + toml.Redact(s), Form: form, Instead: "http://" + bare}
		}
	}
	return &Refusal{What: toml.Redact(s) + " is not an http://, https://, h2:// or h2c:// URL", Form: form}
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
func splitHostPort(s string) (host, port string, bad *Refusal) {
	if a, err := netip.ParseAddr(s); err == nil && a.Is6() {
		bad := &Refusal{What: toml.Quote(s) + " is an IPv6 address without brackets", host: s}
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

func portNumber(s, host, port string) (string, *Refusal) {
	const form = "a port from 1 to 65535"
	n, err := strconv.ParseUint(port, 10, 64)
	switch {
	case port == "":
		return "", &Refusal{What: "no port after the colon in " + toml.Quote(s), Form: form, host: host}
	case strings.Trim(port, "0123456789") != "":
		return "", &Refusal{What: "port " + toml.Quote(port) + " is not a number", Form: form}
	case err != nil || n > 65535:
		return "", &Refusal{What: "port " + toml.Clip(port) + " is above 65535", Form: form}
	}
	return strconv.FormatUint(n, 10), nil
}

// hostName checks a host and gives its usual spelling: lower case, an address as netip prints
// it, an IPv4-mapped one as IPv4, all without brackets. "" stays "".
func hostName(host string) (string, *Refusal) {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		a, err := netip.ParseAddr(strings.Replace(inner, "%25", "%", 1))
		if !closed || err != nil || !a.Is6() {
			return "", &Refusal{What: "no IPv6 address in the brackets of " + toml.Quote(host)}
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
		return "", &Refusal{
			What: toml.Quote(host) + " is not a host name",
			Form: "letters, digits, hyphens and dots (an international name in its xn-- form), or an address",
		}
	case strings.Trim(last, "0123456789.") == "":
		// What "10.0.0.300" and "10.1" mean depends on the resolver, so they are refused.
		return "", &Refusal{
			What: toml.Quote(host) + " is not an IP address",
			Form: "four numbers from 0 to 255, separated by dots",
		}
	}
	return strings.ToLower(host), nil
}

// hostAlone is the name of a host, or an address, without port.
func hostAlone(s, _ string) (string, *Refusal) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a.Unmap().String(), nil
	}
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.HasSuffix(s, "]") {
		return "", &Refusal{What: toml.Quote(s) + " has a port", Form: "the name alone", Instead: s[:i]}
	}
	host, bad := hostName(strings.TrimSuffix(s, "."))
	if bad == nil && (host == "" || strings.HasSuffix(host, ".")) {
		bad = &Refusal{What: toml.Quote(s) + " is not a host name", Form: "a name"}
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

// networkText is a network in the spelling that it has everywhere.
func networkText(s, sample string) (string, *Refusal) {
	p, bad := Network(s, sample)
	return p.String(), bad
}

// Network is a CIDR without host bits.
func Network(s, _ string) (netip.Prefix, *Refusal) {
	const form = "address/bits"
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.Prefix{}, &Refusal{
			What:    toml.Quote(s) + " is an address, not a network",
			Form:    form,
			Instead: netip.PrefixFrom(a, a.BitLen()).String(),
		}
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, &Refusal{What: toml.Quote(s) + " is not a network", Form: form}
	case p.Addr().Is4In6() && p.Bits() >= 96:
		// Peers are compared as IPv4, so this one would never match any.
		four := netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96).Masked()
		return p, &Refusal{What: toml.Quote(s) + " is an IPv4 network written as IPv6", Form: form, Instead: four.String()}
	case p != p.Masked():
		return p, &Refusal{
			What:    toml.Quote(s) + " has host bits set",
			Form:    form,
			Instead: p.Masked().String(),
			Note:    ", the /" + strconv.Itoa(p.Bits()) + " network",
		}
	}
	return p, nil
}

// pagePath is an absolute path that needs no escaping and that no client can spell in two ways.
func pagePath(s, _ string) (string, *Refusal) {
	const safe = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:@/"
	switch {
	case !strings.HasPrefix(s, "/"):
		return "", &Refusal{What: toml.Quote(s) + ` does not start with "/"`, Form: "a path", Instead: "/" + s}
	case strings.ContainsFunc(s, func(r rune) bool { return !strings.ContainsRune(safe, r) }):
		return "", &Refusal{
			What: toml.Quote(s) + " is not a plain path",
			Form: "letters, digits, - . _ and / only, without query or fragment",
		}
	case s == "/":
		return "", &Refusal{What: `"/" would hide the backends' own front page`, Form: "a longer path"}
	case path.Clean(s) != s:
		return "", &Refusal{What: toml.Quote(s) + " is not in its shortest form", Form: "a path", Instead: path.Clean(s)}
	}
	return s, nil
}

// collector is host:port, or a URL with scheme http or https, a port, and perhaps a path.
func collector(s, sample string) (string, *Refusal) {
	const form = "host:port or http(s)://host:port"
	if !strings.Contains(s, "://") {
		if strings.HasPrefix(s, ":") {
			return "", &Refusal{What: "no host in " + toml.Quote(s), Form: form, Instead: "127.0.0.1" + s}
		}
		if v, bad := hostPort(s, sample); bad != nil || !strings.HasSuffix(v, ":0") {
			return v, bad
		}
		return "", &Refusal{What: "port 0 in " + toml.Quote(s), Form: "a port from 1 to 65535"}
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		_, rest, _ := strings.Cut(s, "://")
		return "", &Refusal{What: toml.Redact(s) + " is not an http or https URL", Form: form, Instead: "http://" + rest}
	case u.User != nil:
		u.User = nil
		return "", &Refusal{
			What:    "credentials in " + toml.Redact(s),
			Form:    "a URL without them",
			Instead: u.String(),
			Note:    " and put the credentials into OTEL_EXPORTER_OTLP_HEADERS",
		}
	case strings.ContainsAny(s, "?#"):
		return "", &Refusal{What: "a query or fragment in " + toml.Redact(s), Form: form, Instead: s[:strings.IndexAny(s, "?#")]}
	}
	host, port, bad := splitHostPort(u.Host)
	switch {
	case bad != nil:
		bad.Form = cmp.Or(bad.Form, form)
		return "", bad
	case host == "":
		u.Host = "127.0.0.1" + u.Host
		return "", &Refusal{What: "no host in " + toml.Redact(s), Form: form, Instead: u.String()}
	case port == "" || port == "0":
		u.Host = net.JoinHostPort(host, "4317")
		return "", &Refusal{What: "no port in " + toml.Redact(s), Form: form, Instead: u.String()}
	}
	return s, nil
}

// parameter is the name of a query parameter.
func parameter(s, _ string) (string, *Refusal) {
	if s == "" || strings.ContainsAny(s, "&=?#") {
		return "", &Refusal{What: toml.Quote(s) + " is not the name of a parameter", Form: "the name alone"}
	}
	return s, nil
}

func fileName(s, _ string) (string, *Refusal) {
	if strings.ContainsFunc(s, isControl) {
		return "", &Refusal{
			What:    "a control character in " + toml.Quote(s),
			Form:    "a path",
			Instead: strings.Join(strings.FieldsFunc(s, isControl), ""),
		}
	}
	return s, nil
}
