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
