package config

import (
	"net/netip"
	"time"
)

// LongForm is what a file means, whichever form it is written in: everything that can have a name has
// one, in the order of the file. The parts are built from it, and from the tables that have no long form.
type LongForm struct {
	Listeners []Listener
	Routes    []Route
	Upstreams []Upstream
	Limits    []Limit
}

// DefaultName is the name of what the short form describes.
const DefaultName = "default"

// InLongForm returns c in the long form. [server] listen is the listener, [upstreams] the upstream and
// [rate_limit] the limit named default; that limit holds on every route. Without a route in the file
// there is one, which sends every request to the upstream named default.
func (c *Config) InLongForm() LongForm {
	form := LongForm{
		Listeners: []Listener{{Name: DefaultName, Key: "server", Listen: c.Server.Listen}},
		Upstreams: []Upstream{c.Upstreams.named()},
		Routes:    []Route{{Name: DefaultName, Match: "/", Upstream: DefaultName}},
	}
	if c.RateLimit != nil && c.RateLimit.Enabled {
		form.Limits = []Limit{c.RateLimit.named()}
		for i := range form.Routes {
			form.Routes[i].Limits = append([]string{DefaultName}, form.Routes[i].Limits...)
		}
	}
	return form
}

// A Key below is the dotted path of the table in the file, for [File.Fault]: upstreams for the upstream
// of the short form, upstream.api, route[2].

// Listener is an address that the proxy listens on.
type Listener struct {
	Name   string
	Key    string
	Listen string // host:port
}

// Upstream is a pool of backends, and how pace talks to them.
type Upstream struct {
	Name     string
	Key      string
	Backends []Backend // each only once

	MaxRetries             int
	ConnectTimeout         time.Duration
	ResponseTimeout        time.Duration
	BodyTimeout            time.Duration // longest wait for the next byte of a response's body; 0: no limit
	MaxResponseHeaderBytes int
	MaxIdlePerBackend      int
	IdleTimeout            time.Duration
	Resolve                time.Duration // how often a name's addresses are asked for again; 0: once
}

// Backend is one backend as it is written. A name may stand for several addresses.
type Backend struct {
	Scheme  string // "http", or "unix": HTTP over a socket in the file system
	Address string // host:port, the host in lower case and an IPv6 address in brackets; or the socket's path
	Weight  int    // from 1
}

// Limit is how many requests a client may send.
type Limit struct {
	Name          string
	Key           string
	MaxRequests   int
	WindowSeconds int
	KeyExtractor  string
	MaxKeys       int
}

// Route says which requests it takes, and what happens to them. Exactly one of Upstream, Split, Redirect
// and Respond is set.
type Route struct {
	Name  string
	Key   string // "" for the route of the short form
	Match string // a pattern of net/http.ServeMux

	When []Field // header fields that must be equal, in the order of their names

	Upstream string
	Split    []Share // in the order of their upstreams
	SplitBy  string  // "client_ip", "cookie:NAME" or "header:NAME"; "": at random
	Redirect string
	Status   int // of Redirect
	Respond  int // the status; 0: not set
	Body     string

	StripPrefix     string
	AddPrefix       string
	Host            string // "keep", "backend" or a literal
	RequestHeaders  HeaderRules
	ResponseHeaders HeaderRules

	Limits []string // the names of all that hold; also of the short form's
	Allow  []netip.Prefix
	Deny   []netip.Prefix

	Timeout         time.Duration  // of the whole exchange; 0: no limit
	ResponseTimeout *time.Duration // nil: the upstream's
	BodyTimeout     *time.Duration // nil: the server's for the request, the upstream's for the response
	MaxBodyBytes    *int64         // nil: the server's

	Mirror      string // an upstream; "": none
	MirrorShare float64

	SampleRatio *float64 // nil: [tracing]'s
	Log         string   // "all", "failures" or "none"
}

// Share is how much of a split goes to an upstream.
type Share struct {
	Upstream string
	Weight   int // from 0; not all are 0
}

// HeaderRules change the fields of a header: first Remove, then Set, then Add.
type HeaderRules struct {
	Set    []Field // in the order of their names
	Add    []Field
	Remove []string
}

// Field is a field of a header.
type Field struct {
	Name  string
	Value string
}

func (u *Upstreams) named() Upstream {
	named := Upstream{
		Name:                   DefaultName,
		Key:                    "upstreams",
		MaxRetries:             u.MaxRetries,
		ConnectTimeout:         u.ConnectTimeout,
		ResponseTimeout:        u.ResponseTimeout,
		MaxResponseHeaderBytes: u.MaxResponseHeaderBytes,
		MaxIdlePerBackend:      u.MaxIdlePerBackend,
		IdleTimeout:            u.IdleTimeout,
	}
	for _, address := range u.Backends {
		named.Backends = append(named.Backends, Backend{Scheme: "http", Address: address, Weight: 1})
	}
	return named
}

func (l *RateLimit) named() Limit {
	return Limit{DefaultName, "rate_limit", l.MaxRequests, l.WindowSeconds, l.KeyExtractor, l.MaxKeys}
}
