package config

import (
	"fmt"
	"strings"
)

// together checks what no key can be blamed for alone.
func (r *reader) together() {
	c := &r.file.Config
	for _, t := range tables {
		for _, k := range t.keys {
			if k.fallback == nil && r.file.lines[k.Name] == 0 {
				r.fault(k.Name, "missing", fmt.Sprintf("write %s = %s under [%s]", k.leaf, k.example, t.name))
			}
		}
	}
	if c.Admin.Listen != "" && c.Admin.Listen == c.Server.Listen && !strings.HasSuffix(c.Admin.Listen, ":0") {
		r.fault("admin.listen", quote(c.Admin.Listen)+" is server.listen as well", "write another address")
	}
	if c.RateLimit != nil {
		r.memory(c.RateLimit)
	}
}

const (
	placeBytes = 8        // what the limiter keeps for one request of one client
	maxMemory  = 64 << 30 // bytes; above that, the limit is a slip, not a wish
)

// memory refuses a limit that could come to hold an absurd amount of it.
func (r *reader) memory(l *RateLimit) {
	// Both factors are at most 1e9 here, so the product stays below 2^63.
	need := int64(l.MaxKeys) * int64(l.MaxRequests) * placeBytes
	if need > maxMemory {
		r.fault("rate_limit.max_keys", fmt.Sprintf("%d clients with %d requests each need up to %d GiB of memory", l.MaxKeys, l.MaxRequests, need>>30),
			fmt.Sprintf("write at most %d", maxMemory/placeBytes/int64(l.MaxRequests)))
	}
}
