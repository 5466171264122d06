package config

import (
	"fmt"
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
	if at := c.Admin.Listen; at != "" && at == c.Server.Listen && !strings.HasSuffix(at, ":0") {
		r.fault(r.writtenOne("admin.listen", "server.listen"), quote(at)+" is the address of both server and admin", "write another in one of them")
	}
	if name := c.Headers.BackendName; name != "" && strings.EqualFold(name, c.Tracing.ResponseHeader) {
		r.fault(r.writtenOne("headers.backend_name", "tracing.response_header"),
			quote(name)+" is both headers.backend_name and tracing.response_header", "write another name in one of them")
	}
	if c.RateLimit != nil && !r.faulted("rate_limit.max_keys") && !r.faulted("rate_limit.max_requests") {
		r.memory(c.RateLimit)
	}
}

const (
	placeBytes = 8        // what the limiter keeps for one request of one client
	maxMemory  = 64 << 30 // bytes; above that, the limit is a slip, not a wish
)

// memory refuses a limit that could come to hold an absurd amount of it.
func (r *reader) memory(l *RateLimit) {
	// Both factors are at most 1e9, so the product is below 2^63.
	need := int64(l.MaxKeys) * int64(l.MaxRequests) * placeBytes
	if need > maxMemory {
		r.fault(r.writtenOne("rate_limit.max_keys", "rate_limit.max_requests"),
			fmt.Sprintf("%d clients with %d requests each need up to %d GiB of memory", l.MaxKeys, l.MaxRequests, need>>30),
			fmt.Sprintf("write max_keys = %d at most, or fewer max_requests", maxMemory/placeBytes/int64(l.MaxRequests)))
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
