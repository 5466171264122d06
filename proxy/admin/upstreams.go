package admin

import "net/http"

// Upstream is a pool of backends.
type Upstream struct {
	Name     string    `json:"name"`
	Backends []Backend `json:"backends"`
}

// Backend is a backend at this instant.
type Backend struct {
	Address     string `json:"address"` // host:port, or the path of a unix socket
	Weight      int    `json:"weight"`
	Active      int    `json:"active"`      // connections on which a request is in flight
	Connections int    `json:"connections"` // that are open; streams are in neither number
}

type upstreamList struct {
	Upstreams []Upstream `json:"upstreams"`
}

func (a *api) upstreams(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, upstreamList{a.Upstreams()})
}
