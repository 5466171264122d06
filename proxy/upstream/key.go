package upstream

import (
	"net/http"
	"net/netip"
	"strings"
	"time"

	"pace/lb"
	"pace/proxy/transport"
)

// Request is what the choice of a backend may go by.
type Request struct {
	Client     netip.Addr
	Header     http.Header
	Path       string         // without the query
	Pin        *transport.Pin // may be nil
	Repeatable bool           // it may be done twice, and all of it is here
	Now        time.Time
}

// By is what keeps requests together: those with the same value of it belong together.
type By struct{ kind, name string }

const (
	byClient = "client_ip"
	byCookie = "cookie"
	byHeader = "header"
	byPath   = "path"
)

// ParseBy reads "client_ip", "cookie:NAME", "header:NAME" or "path". For any other text, no request has a value.
func ParseBy(text string) By {
	var b By
	b.kind, b.name, _ = strings.Cut(text, ":")
	if b.kind == byHeader {
		b.name = http.CanonicalHeaderKey(b.name)
	}
	return b
}

// Key returns a hash of the request's value, or 0 if it has none. It is the same in every process.
func (b By) Key(r *Request) uint64 {
	switch b.kind {
	case byClient:
		a := r.Client.As16()
		return lb.Key(a[:])
	case byCookie:
		if v, ok := cookie(r.Header, b.name); ok {
			return lb.Key(v)
		}
	case byHeader:
		for _, v := range r.Header[b.name] {
			return lb.Key(v)
		}
	case byPath:
		return lb.Key(r.Path)
	}
	return 0
}

// cookie returns the value of the first cookie of this name.
func cookie(h http.Header, name string) (value string, ok bool) {
	for _, c := range (&http.Request{Header: h}).CookiesNamed(name) {
		return c.Value, true
	}
	return "", false
}
