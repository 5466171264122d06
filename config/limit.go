package config

// RateLimit is what can be said of a limit: in the short form the only one, and its name is default.
type RateLimit struct {
	Enabled       bool   `toml:"enabled" default:"true" doc:"Apply the limit."`
	MaxRequests   int    `toml:"max_requests" default:"10" min:"1" max:"1000000000" doc:"Requests a client may send in any span of window_seconds."`
	WindowSeconds int    `toml:"window_seconds" default:"60" min:"1" max:"31536000" doc:"Length of that span, in seconds; a year at most."`
	KeyExtractor  string `toml:"key_extractor" default:"client_ip" doc:"What identifies a client: client_ip is its address (IPv6: its /64)."`
	MaxKeys       int    `toml:"max_keys" default:"1000000" min:"1" max:"1000000000" doc:"Clients remembered at once. The limiter takes up to max_keys × (80 + 10 × max_requests) bytes of memory; above 64 GiB the file is refused."`
}

// Limit is a limit under a name.
type Limit struct {
	Name string
	Key  string // the path of its table, for [File.Fault]: limit.per_client, or rate_limit
	RateLimit
}
