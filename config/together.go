package config

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
)

// together checks what no key can be blamed for alone.
func (r *reader) together() {
	for _, t := range tables {
		for _, k := range t.keys {
			if k.fallback == nil && r.file.lines[k.Name] == 0 && !r.faulted(t.name) {
				r.fault(k.Name, "missing", fmt.Sprintf("write %s = %s under [%s]", k.leaf, k.example, t.name))
			}
		}
	}
	c := &r.file.Config
	r.listeners(c)
	if name := c.Headers.BackendName; name != "" && strings.EqualFold(name, c.Tracing.ResponseHeader) {
		r.fault(r.writtenOne("headers.backend_name", "tracing.response_header"),
			quote(name)+" is both headers.backend_name and tracing.response_header", "write another name in one of them")
	}
	if c.RateLimit != nil && !r.faulted("rate_limit.max_keys") && !r.faulted("rate_limit.max_requests") {
		r.memory(c.RateLimit)
	}
}

// listeners refuses two that no machine can open at once, and backends that are one of them: pace
// would ask itself, and itself again.
func (r *reader) listeners(c *Config) {
	proxy, admin := c.Server.Listen, c.Admin.Listen
	if collide(proxy, admin) {
		r.fault(r.writtenOne("admin.listen", "server.listen"),
			fmt.Sprintf("server listens on %q and admin on %q, and only one of them can", proxy, admin), "write another port in one of them")
	}
	if slices.ContainsFunc(r.faults, func(f *Fault) bool { return strings.HasPrefix(f.Key, "upstreams.backends[") }) {
		return // a refused one is not in the list, so that the places in it are not those in the file
	}
	for i, b := range c.Upstreams.Backends {
		for _, listen := range []string{proxy, admin} {
			if reaches(b, listen) {
				r.fault(element("upstreams.backends", i), fmt.Sprintf("%q is pace itself, which listens on %q", "http://"+b, listen),
					"name the address of another server")
				break
			}
		}
	}
}

// collide says whether two listeners cannot have these addresses, host:port or "", at once.
func collide(a, b string) bool {
	host, port := place(a)
	other, same := place(b)
	return port == same && port != "" && (host == other || host == "" || other == "")
}

// reaches says whether who connects to the backend's address finds the listener, as far as the two
// tell; by what names and addresses else a machine is known they do not.
func reaches(backend, listen string) bool {
	host, port := place(backend)
	on, at := place(listen)
	if host == "" {
		host = loopback // where the system looks for "all addresses"
	}
	a, err := netip.ParseAddr(host)
	return port == at && port != "" && (host == on || on == "" && err == nil && a.IsLoopback())
}

const loopback = "127.0.0.1"

// place takes an address apart. The host is "" if it is all addresses, and the port if it is any.
func place(address string) (host, port string) {
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

// What the limiter keeps for a client and for each request of it, at most, in bytes;
// cmd/pace's TestMemoryBound holds this to the limiter's own account.
const (
	keyBytes   = 80
	placeBytes = 10
	maxMemory  = 64 << 30 // above that, the limit is a slip, not a wish
)

// memory refuses a limit that could come to hold an absurd amount of it.
func (r *reader) memory(l *RateLimit) {
	each := keyBytes + placeBytes*int64(l.MaxRequests)
	if need := float64(l.MaxKeys) * float64(each); need > maxMemory {
		r.fault(r.writtenOne("rate_limit.max_keys", "rate_limit.max_requests"),
			fmt.Sprintf("%d clients with %d requests each need up to %.0f GiB of memory", l.MaxKeys, l.MaxRequests, need/(1<<30)),
			fmt.Sprintf("write max_keys = %d at most, or fewer max_requests", maxMemory/each))
	}
}

// writtenOne is the key to blame when keys contradict one another: the first that the file
// holds, since the others have their defaults.
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
