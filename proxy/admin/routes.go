package admin

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

var matchQuery = []parameter{
	{"method", "The request's method; GET if it is left out.", false},
	{"url", "https://host/path, or /path alone.", false},
	{"header", "A header field of the request, as in Name: value.", true},
}

// readQuery reads the parameters of a call, and refuses those that it does not have.
func readQuery(r *http.Request, parameters []parameter) (url.Values, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("the query cannot be parsed: %w", err)
	}
	names := make([]string, len(parameters))
	for i, p := range parameters {
		names[i] = p.name
		if n := len(q[p.name]); n > 1 && !p.repeated {
			return nil, fmt.Errorf("%s is given %d times; write it once", p.name, n)
		}
	}
	for name := range q {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("unknown parameter %q; write one of %s", name, words(names))
		}
	}
	return q, nil
}

func (a *api) match(w http.ResponseWriter, r *http.Request) {
	q, err := readQuery(r, matchQuery)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	m, err := a.Match(cmp.Or(q.Get("method"), http.MethodGet), q.Get("url"), q["header"])
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	respond(w, http.StatusOK, m)
}
