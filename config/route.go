package config

import (
	"net/netip"
	"reflect"
	"regexp"
	"time"
)

// Route says which requests it takes, and what happens to them. Exactly one of Upstream, Split, Redirect
// and Respond is set.
type Route struct {
	Key string // the path of its table, for [File.Fault]: route[2]; "" for the one that nobody wrote

	Match string  `toml:"match" example:"GET /users/{id}" is:"pattern" doc:"The requests that it takes, as a pattern of Go's net/http.ServeMux: [METHOD ][HOST]/[PATH], with wildcards such as {id}, {rest...} and {$}. The most specific pattern wins."`
	Name  string  `toml:"name" inherits:"match" is:"label?" doc:"Its name in metrics, traces and logs."`
	When  []Field `toml:"when" default:"" is:"condition" doc:"Fields of the header that must be equal, each once. Of two routes with one pattern the one with more conditions goes first."`

	Upstream string  `toml:"upstream" default:"" example:"default" is:"name?" doc:"The upstream that gets the requests."`
	Split    []Share `toml:"split" default:"" doc:"Several upstreams that get them, each with its weight: { a = 95, b = 5 }."`
	SplitBy  string  `toml:"split_by" default:"" is:"split_by?" doc:"What keeps a client at one upstream of split: client_ip, cookie:NAME or header:NAME; \"\", or a request without it: chosen at random."`
	Redirect string  `toml:"redirect" default:"" is:"location?" doc:"The URL to send clients to. It may use the pattern's wildcards: https://new.example/{rest}. The query is appended."`
	Status   int     `toml:"status" default:"308" among:"301 302 303 307 308" doc:"The status of redirect: 301, 302, 303, 307 or 308."`
	Respond  int     `toml:"respond" default:"0" min:"200" max:"599" doc:"The status to respond with; 0: pace does not respond itself."`
	Body     string  `toml:"body" default:"" is:"body" doc:"The body of respond."`

	StripPrefix     string      `toml:"strip_prefix" default:"" is:"prefix?" doc:"The start of the path that the backend does not get, in whole segments."`
	AddPrefix       string      `toml:"add_prefix" default:"" is:"prefix?" doc:"What the backend gets in front of the path."`
	Host            string      `toml:"host" default:"keep" is:"authority" doc:"The Host that the backend gets: keep is the client's, backend the backend's own, anything else is that host."`
	RequestHeaders  HeaderRules `toml:"request_headers" doc:"What changes in the header of the request."`
	ResponseHeaders HeaderRules `toml:"response_headers" doc:"What changes in the header of the response."`

	Limits []string       `toml:"limits" default:"" is:"name" doc:"The names of the limits that hold for its requests. A request passes if all let it pass, and counts for none otherwise."`
	Allow  []netip.Prefix `toml:"allow" default:"" doc:"Networks of the clients that may use it; others get 403. Without any, all may."`
	Deny   []netip.Prefix `toml:"deny" default:"" doc:"Networks of the clients that may not use it, even if allow names them; they get 403."`

	Timeout         time.Duration  `toml:"timeout" default:"0s" min:"0s" max:"24h" doc:"Longest time for a whole exchange, streams excepted; 0s: no limit."`
	ResponseTimeout *time.Duration `toml:"response_timeout" inherits:"the upstream's" example:"30s" min:"1ms" max:"24h" doc:"Longest wait for the header of a backend's response."`
	BodyTimeout     *time.Duration `toml:"body_timeout" inherits:"the server's for requests, the upstream's for responses" example:"60s" min:"0s" max:"24h" doc:"Longest wait for the next byte of a body, of the request or the response; 0s: no limit. Streams have none."`
	MaxBodyBytes    *int64         `toml:"max_body_bytes" inherits:"the server's" example:"1048576" min:"0" max:"1125899906842624" doc:"Largest body of a request, in bytes; 0: no limit."`

	Mirror      string  `toml:"mirror" default:"" is:"name?" doc:"Another upstream that gets a copy of the requests. Its responses are dropped, and no client waits for it."`
	MirrorShare float64 `toml:"mirror_share" default:"1.0" min:"0" max:"1" doc:"Share of the requests that are copied."`

	SampleRatio *float64 `toml:"sample_ratio" inherits:"[tracing]'s" example:"1.0" min:"0" max:"1" doc:"Share of requests traced when no one decided it before."`
	Log         string   `toml:"log" default:"all" doc:"Which access lines are written: all, failures or none. Metrics and traces are whole either way."`

	Slow *time.Duration `toml:"slow" inherits:"[tracing.keep]'s" example:"1s" min:"0s" max:"24h" doc:"The trace of a request that takes longer is kept; 0s: none is for that."`
}

// Share is how much of a split goes to an upstream.
type Share struct {
	Upstream string
	Weight   int // from 0; not all are 0
}

// HeaderRules change the fields of a header: first Remove, then Set, then Add.
type HeaderRules struct {
	Set    []Field  `toml:"set" default:"" is:"field" doc:"Fields that get this value, whatever they had before."`
	Add    []Field  `toml:"add" default:"" is:"field" doc:"Fields that are added to those that are there."`
	Remove []string `toml:"remove" default:"" is:"field" doc:"Names of fields that are removed."`
}

// Field is a field of a header. Fields of a table are in the order of their names.
type Field struct {
	Name   string
	Value  string
	Secret bool // the value must not be shown: it stands elsewhere, or its name says so
}

// secretFields are the names of fields whose values are secrets, or may be.
var secretFields = regexp.MustCompile(`(?i)auth|cookie|token|secret|password|key|credential|signature`)

// Shown returns the value, or the mask.
func (f Field) Shown() string {
	if f.Secret {
		return Mask
	}
	return f.Value
}

// defaultRoute is the route of a file that has none.
func defaultRoute() Route {
	t := root.inner("route")
	r := reader{file: &File{}}
	var one Route
	r.readTable(t, "", nil, reflect.ValueOf(&one).Elem())
	one.Match, one.Name, one.Upstream = "/", DefaultName, DefaultName
	return one
}
