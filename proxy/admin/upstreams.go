package admin

import (
	"net/http"
	"time"
)

// Upstream is a pool of backends.
type Upstream struct {
	Name     string    `json:"name"`
	Policy   string    `json:"policy"`
	Backends []Backend `json:"backends"`
}

// Backend is a backend at this instant.
type Backend struct {
	Address     string    `json:"address"` // host:port, or the path of a unix socket
	Scheme      string    `json:"scheme"`  // what is spoken there: http, https, h2 or h2c
	State       string    `json:"state"`
	Reason      string    `json:"reason"` // of the last change of state, in words; "" if there was none
	Since       time.Time `json:"since"`
	Weight      int       `json:"weight"`
	Active      int       `json:"active"`      // requests in flight, streams included
	Connections int       `json:"connections"` // that are open, with idle ones and those of streams
	LastCheck   *Check    `json:"last_check"`  // null: none yet
}

// Check is the result of a check of a backend.
type Check struct {
	At         time.Time `json:"at"`
	Passed     bool      `json:"passed"`
	Status     int       `json:"status"` // of the response; 0: none
	DurationMS float64   `json:"duration_ms"`
	Error      string    `json:"error"` // "" if it passed
}

type upstreamList struct {
	Upstreams []Upstream `json:"upstreams"`
}

func (a *api) upstreams(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, upstreamList{a.Upstreams()})
}
