package config

import (
	"slices"
	"strconv"
	"time"

	"pace/config/check"
)

// Health says how the backends of an upstream are checked.
type Health struct {
	Type     string        `toml:"type" default:"http" doc:"What a check does: http (a GET; its status must be one of status), tcp (a connection), or grpc (grpc.health.v1.Health/Check of the backend as a whole, over HTTP/2: with TLS to https:// and h2:// backends, in clear text to others; it must say SERVING)."`
	Path     string        `toml:"path" default:"/" is:"checked_path" doc:"Path of the GET, and perhaps a query."`
	Host     string        `toml:"host" default:"" is:"checked_host?" doc:"Host field of the request; \"\": the backend's own host and port."`
	Status   string        `toml:"status" default:"200-399" is:"statuses" doc:"Statuses with which a check passes, and ranges of them, separated by commas, such as 200-299,404. Redirects are not followed."`
	Interval time.Duration `toml:"interval" default:"5s" min:"10ms" max:"24h" doc:"Time between the beginnings of two checks of a backend; each time up to a tenth longer or shorter, so that not all backends are checked in one instant."`
	Timeout  time.Duration `toml:"timeout" default:"1s" min:"1ms" max:"10m" doc:"Longest duration of a check, from connecting to the end of the response, of whose body 64 KiB are read at most."`
	Fall     int           `toml:"fall" default:"3" min:"1" max:"1000" doc:"Checks in a row that must fail until a backend is unhealthy and gets no more requests."`
	Rise     int           `toml:"rise" default:"2" min:"1" max:"1000" doc:"Checks in a row that must pass until an unhealthy backend gets requests again."`
	Port     int           `toml:"port" default:"0" min:"0" max:"65535" doc:"Port that is checked, where it is another one than that of the requests; 0: the same. It does not matter to a backend that is unix:/path."`
}

// checks refuses keys of an upstream's health that mean nothing, because of the type, or because no backend has a
// port.
func (r *reader) checks(u *Upstream) {
	h, key := u.Health, u.Key+".health."
	if h == nil || r.faulted(key+"type") {
		return
	}
	isTCP, isGRPC := h.Type == "tcp", h.Type == "grpc"
	withType := "means nothing with type = " + strconv.Quote(h.Type)
	hasPort := func(b Backend) bool { return b.Scheme != check.Unix }
	for _, c := range []struct {
		leaf           string
		set, pointless bool
		what           string
	}{
		{"path", h.Path != "/", isTCP || isGRPC, withType},
		{"host", h.Host != "", isTCP, withType},
		{"status", h.Status != "200-399", isTCP || isGRPC, withType},
		{"port", h.Port != 0, len(u.Backends) > 0 && !slices.ContainsFunc(u.Backends, hasPort), "means nothing, because no backend has a port"},
	} {
		i := slices.IndexFunc(r.faults, func(f *Fault) bool { return f.Key == key+c.leaf })
		switch {
		case c.pointless && i >= 0:
			r.faults[i].Remedy = "remove it" // another value would be as pointless
		case c.pointless && c.set:
			r.fault(key+c.leaf, c.what, "remove it")
		}
	}
}

// slowChecks warns of a timeout that is longer than the interval: a backend that hangs is then checked less often
// than the file says.
func (f *File) slowChecks(u *Upstream) []*Fault {
	h := u.Health
	if h == nil || h.Timeout <= h.Interval {
		return nil
	}
	key := u.Key + ".health.timeout"
	if f.lines[key] == 0 {
		key = u.Key + ".health.interval"
	}
	return []*Fault{f.Fault(key, "warning: timeout is longer than interval, so a backend that hangs is checked less often than every "+h.Interval.String(),
		"write a timeout of "+strconv.Quote(h.Interval.String())+" or less, or a longer interval")}
}
