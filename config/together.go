package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pace/config/check"
	"pace/config/toml"
)

// together checks keys against each other.
func (r *reader) together() {
	c := &r.file.Config
	r.requireKeys(c)
	r.bothForms(c)
	r.unlisten(c)
	r.listeners(c)
	r.tls(c)
	r.acme(c)
	if name := c.Headers.BackendName; name != "" && strings.EqualFold(name, c.Tracing.ResponseHeader) {
		key := r.writtenOne("headers.backend_name", "tracing.response_header")
		sample := keyNamed(key).sample
		if strings.EqualFold(sample, name) {
			sample = check.Sample("header")
		}
		r.fault(key, toml.Quote(name)+" is both headers.backend_name and tracing.response_header",
			"write another name in one of them, such as "+strconv.Quote(sample))
	}
	for _, l := range c.limits() {
		if r.faulted(l.Key+".max_keys") || r.faulted(l.Key+".max_requests") {
			r.keepRemediesSmall(l)
		} else {
			r.memory(l)
		}
	}
	for u := range c.upstreams() {
		r.hashed(u)
		r.checks(u)
	}
	for i := range c.Routes {
		if r.full() {
			return
		}
		r.route(&c.Routes[i])
	}
	r.namesOfRoutes(c.Routes)
}

// requireKeys reports the keys that are missing. The backends of the short form are required if it is used,
// and if the one route that nobody wrote needs them.
func (r *reader) requireKeys(c *Config) {
	for _, m := range r.missing {
		short := m.path == "upstreams" && r.file.lines["upstreams"] == 0
		switch {
		case short && (len(c.Routes) > 0 || c.upstream(DefaultName) != nil):
		case short && (r.faulted("route") || slices.Contains(r.meant, "[[route]]")): // it cannot be read yet
		case short && len(c.NamedUpstreams) > 0:
			r.at(0, "route", "missing: without a route all requests go to the upstream named default, and there is none",
				`write [[route]] with match = "/" and upstream = `+strconv.Quote(c.NamedUpstreams[0].Name))
		case r.file.lines[m.of.Name] == 0 && !r.explained(m):
			r.at(r.file.lines[m.path], m.of.Name, "missing", fmt.Sprintf("write %s = %s under %s", m.of.leaf, m.of.example, headerOf(m.path)))
		}
	}
}

// explained reports whether another fault already says why a key is missing: its table cannot be read,
// or an unknown key or table was meant to be it, or its table was meant to be another.
func (r *reader) explained(m missing) bool {
	if m.path == "upstreams" && slices.ContainsFunc(r.meant, func(s string) bool { return strings.HasPrefix(s, "[upstream.") }) {
		return true
	}
	unreadable := slices.ContainsFunc(r.faults[:r.syntaxFaults], func(f *Fault) bool { return f.Key == m.path })
	return unreadable || slices.Contains(r.meant, m.of.Name) || slices.Contains(r.meant, "["+m.path+"]")
}

// bothForms refuses what is written in both forms.
func (r *reader) bothForms(c *Config) {
	for short, long := range map[string]string{"upstreams": "upstream.default", "rate_limit": "limit.default", "server.listen": "listener.default"} {
		if first, second := r.file.lines[short], r.file.lines[long]; first > 0 && second > 0 {
			r.fault(long, fmt.Sprintf("%s on line %d and [%s] on line %d are the same thing", shown(short), first, long, second),
				"remove one of the two")
		}
	}
}

// shown is a table or a key of the short form, as it is written.
func shown(short string) string {
	if keyNamed(short) != nil {
		return short
	}
	return "[" + short + "]"
}

// unlisten takes away the default of server.listen if the file has listeners of its own.
func (r *reader) unlisten(c *Config) {
	if len(c.NamedListeners) > 0 && r.file.lines["server.listen"] == 0 {
		c.Server.Listen = ""
	}
}

// listeners refuses two listeners that cannot be open at the same time, and a backend that is one of
// them: pace would send each request to itself, without end.
func (r *reader) listeners(c *Config) {
	r.keepRemediesApart(c)
	all := c.ownAddresses()
	for i, a := range all {
		for _, b := range all[i+1:] {
			r.apart(c, a, b)
		}
	}
	for u := range c.upstreams() {
		r.ownBackends(c, u)
	}
}

// apart refuses two addresses that cannot be open at the same time.
func (r *reader) apart(c *Config, a, b ownAddress) {
	key := r.writtenOne(b.key, a.key)
	if a.listen == b.listen && isSocket(a.listen) {
		r.fault(key, fmt.Sprintf("%s and %s are both %q", a.key, b.key, a.listen),
			"write another address in one of them, such as "+strconv.Quote(keyNamed(key).sample))
	} else if collide(a.listen, b.listen) {
		taken := b.listen
		if key == a.key {
			taken = a.listen
		}
		r.fault(key, fmt.Sprintf("%s is %q and %s is %q, and only one of them can have the port", a.key, a.listen, b.key, b.listen),
			"write another port in one of them, such as "+strconv.Quote(c.freeAddress(taken)))
	}
}

// hashed refuses a hash_by that means nothing, because the policy is another one.
func (r *reader) hashed(u *Upstream) {
	by, policy := u.Key+".hash_by", u.Key+".policy"
	if r.file.lines[by] == 0 || u.Policy == "hash" || r.faulted(by) || r.faulted(policy) {
		return
	}
	if u.HashBy != Default().Upstreams.HashBy {
		r.fault(by, `means nothing without policy = "hash"`, "remove it")
	}
}

// ownBackends refuses the backends of an upstream that are listeners of pace's own.
func (r *reader) ownBackends(c *Config, u *Upstream) {
	list := u.Key + ".backends"
	if slices.ContainsFunc(r.faults, func(f *Fault) bool { return strings.HasPrefix(f.Key, list+"[") }) {
		return // a refused backend is not in the list, so the indexes differ from those in the file
	}
	for i, b := range u.Backends {
		for _, a := range c.ownAddresses() {
			if b.reaches(a.listen) {
				r.fault(toml.Element(list, i), fmt.Sprintf("%q is pace itself, which listens on %q", b.URL(), a.listen), anotherServer)
				break
			}
		}
	}
}

// keepRemediesApart changes the remedies that would make two listeners, or a listener and a backend,
// have one address.
func (r *reader) keepRemediesApart(c *Config) {
	for _, f := range r.faults {
		text, _ := strings.CutPrefix(f.Remedy, "write ")
		proposed, err := toml.Value(text)
		if err != nil {
			continue
		}
		if strings.HasSuffix(f.Key, ".listen") {
			c.keepRemedyApart(f, fmt.Sprint(proposed))
		}
		if k := keyNamed(strings.SplitN(f.Key, "[", 2)[0]); k != nil && k.leaf == "backends" && c.isOwn(proposed) {
			f.Remedy = anotherServer
		}
	}
}

// keepRemedyApart changes the remedy of a listener that would be open at an address where another is.
func (c *Config) keepRemedyApart(f *Fault, proposed string) {
	for _, other := range c.ownAddresses() {
		switch {
		case other.key == f.Key:
		case proposed == other.listen && isSocket(proposed):
			f.Remedy = "write another address, such as " + strconv.Quote(keyNamed(f.Key).sample)
		case collide(proposed, other.listen):
			f.Remedy = "write another port, such as " + strconv.Quote(c.freeAddress(proposed))
		}
	}
}

const anotherServer = "write the address of another server"

// isOwn reports whether a backend, or one in a list of them, is a listener of pace's own.
func (c *Config) isOwn(backends any) bool {
	list, ok := backends.([]any)
	if !ok {
		list = []any{backends}
	}
	return slices.ContainsFunc(list, func(one any) bool {
		text, _ := one.(string)
		scheme, address, bad := check.Backend(text, "")
		b := Backend{scheme, address, 1}
		return bad == nil && slices.ContainsFunc(c.ownAddresses(), func(a ownAddress) bool { return b.reaches(a.listen) })
	})
}

// freeAddress is the address with the next port that neither a listener nor a backend has.
func (c *Config) freeAddress(address string) string {
	host, text, _ := net.SplitHostPort(address)
	port, _ := strconv.Atoi(text)
	for {
		if port++; port > 65535 {
			port = 1024
		}
		next := net.JoinHostPort(host, strconv.Itoa(port))
		taken := slices.ContainsFunc(c.ownAddresses(), func(a ownAddress) bool { return collide(next, a.listen) })
		if !taken && !c.hasBackend(next) {
			return next
		}
	}
}

// hasBackend reports whether a listener at the address would be a backend.
func (c *Config) hasBackend(listen string) bool {
	for u := range c.upstreams() {
		if slices.ContainsFunc(u.Backends, func(b Backend) bool { return b.reaches(listen) }) {
			return true
		}
	}
	return false
}

// isSocket reports whether pace listens on something without a port: unix:/path or fd:NAME.
func isSocket(listen string) bool {
	return strings.HasPrefix(listen, check.UnixPrefix) || strings.HasPrefix(listen, check.FilePrefix)
}

// collide reports whether two listeners cannot have their ports at the same time. An address may be "".
func collide(a, b string) bool {
	host, port := place(a)
	other, same := place(b)
	return port == same && port != "" && (host == other || host == "" || other == "")
}

// reaches reports whether a connection to the backend arrives at the listener, as far as the two addresses
// show. Other names and addresses of this machine are not known here.
func (b Backend) reaches(listen string) bool {
	if b.Scheme == check.Unix {
		return listen == check.UnixPrefix+b.Address
	}
	host, port := place(b.Address)
	on, at := place(listen)
	if host == "" {
		host = loopback // where the system connects to for "all addresses"
	}
	a, err := netip.ParseAddr(host)
	return port == at && port != "" && (host == on || on == "" && err == nil && a.IsLoopback())
}

const loopback = "127.0.0.1"

// place splits an address into host and port. The host is "" for all addresses, the port "" for any.
func place(address string) (host, port string) {
	if isSocket(address) {
		return "", ""
	}
	host, port, _ = net.SplitHostPort(address)
	switch strings.TrimSuffix(host, ".") {
	case "0.0.0.0", "::": // Go opens both families for either
		host = ""
	case "localhost":
		host = loopback
	}
	if port == "0" {
		port = ""
	}
	return host, port
}

// Upper bounds, in bytes, of what the limiter keeps for a client and for each of its requests;
// TestMemoryBound of cmd/pace/server holds this to the limiter's own account.
const (
	keyBytes   = 80
	placeBytes = 10
	maxMemory  = 64 << 30 // a larger limit is more likely a typing error than a wish
)

// memory refuses a limit that may take an absurd amount of memory.
func (r *reader) memory(l Limit) {
	if !tooLarge(l.MaxKeys, l.MaxRequests) {
		return
	}
	key := r.writtenOne(l.Key+".max_keys", l.Key+".max_requests")
	need := float64(l.MaxKeys) * float64(keyBytes+placeBytes*int64(l.MaxRequests))
	what := fmt.Sprintf("%d clients with %d requests each need up to %.0f GiB of memory, and the limit is %d GiB",
		l.MaxKeys, l.MaxRequests, need/(1<<30), int64(maxMemory>>30))
	r.fault(key, what, lower(key, l))
}

// keepRemediesSmall changes the remedies that would make the limit take too much memory.
func (r *reader) keepRemediesSmall(l Limit) {
	for _, f := range r.faults {
		text, _ := strings.CutPrefix(f.Remedy, "write ")
		n, err := strconv.Atoi(text)
		switch {
		case err != nil:
		case f.Key == l.Key+".max_keys" && tooLarge(n, l.MaxRequests), f.Key == l.Key+".max_requests" && tooLarge(l.MaxKeys, n):
			f.Remedy = lower(f.Key, l)
		}
	}
}

func tooLarge(keys, requests int) bool {
	return float64(keys)*float64(keyBytes+placeBytes*int64(requests)) > maxMemory
}

// lower is the remedy of a limit that takes too much memory. It always passes: max_keys is taken where
// it is written, and has room for some keys at the largest max_requests; else it has its default, which
// has room for many requests.
func lower(key string, l Limit) string {
	if key == l.Key+".max_keys" {
		return fmt.Sprintf("write %d or less, or lower max_requests", maxMemory/(keyBytes+placeBytes*int64(l.MaxRequests)))
	}
	return fmt.Sprintf("write %d or less, or lower max_keys", max(1, (maxMemory/int64(l.MaxKeys)-keyBytes)/placeBytes))
}

// writtenOne is the key to blame when keys contradict each other: the first one that is written in the
// file, since the others have their defaults.
func (r *reader) writtenOne(keys ...string) string {
	for _, key := range keys {
		if r.file.lines[key] > 0 {
			return key
		}
	}
	return keys[0]
}

func (r *reader) faulted(key string) bool {
	return slices.ContainsFunc(r.faults, func(f *Fault) bool { return f.Key == key })
}
