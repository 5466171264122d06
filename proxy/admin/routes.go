package admin

import (
	"cmp"
	"net/http"
)

// Route is a route as the configuration has it.
type Route struct {
	Name   string            `json:"name"`
	Match  string            `json:"match"`
	When   map[string]string `json:"when"`
	Action string            `json:"action"` // as in upstream api, or redirect 308 to /new
}

type routeList struct {
	Routes []Route `json:"routes"`
}

// Match says which route takes a request.
type Match struct {
	Route       *string  `json:"route"`        // null: none
	Outcome     string   `json:"outcome"`      // "": that of the backend
	Upstream    *string  `json:"upstream"`     // null: no backend is asked, or one of several upstreams
	BackendPath *string  `json:"backend_path"` // with its query
	Limits      []string `json:"limits"`
	Others      []Other  `json:"others"` // the nearest first
}

// Other is a route that does not take the request.
type Other struct {
	Route string `json:"route"`
	Why   string `json:"why"`
}

func (a *api) routes(w http.ResponseWriter, _ *http.Request) {
	respond(w, http.StatusOK, routeList{a.Routes()})
}

func (a *api) match(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	m, err := a.Match(cmp.Or(q.Get("method"), http.MethodGet), q.Get("url"), q["header"])
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	respond(w, http.StatusOK, m)
}
