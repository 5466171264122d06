// Package admin is the JSON API by which operators see what is in force, and change a little of it, while pace
// runs. Every change is logged with who asked for it, and needs a token or a socket in the file system.
//
// It must not know how a configuration is written, nor the path of a request: what it shows it is given, and
// what it changes it asks for.
package admin

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"
)

// Options are what the API shows and changes. All but Token must be set.
type Options struct {
	Log   *slog.Logger
	Token string // that calls which change something must bring; "": only those by a socket in the file system may

	Config    func() Config
	Routes    func() []Route                                                 // in order of precedence
	Match     func(method, url string, header []string) (Match, error)       // header has lines "Name: value"
	Upstreams func() []Upstream                                              // in the order of the configuration
	Order     func(o BackendOrder) (Backend, error)                          // carries it out; an error: there is no such backend
	Reload    func(by string) Reload                                         // puts the configuration's file in force
	SetLevel  func(l slog.Level, d time.Duration, ended func(of slog.Level)) // of the log, for a while
}

// api is a server of the API.
type api struct{ Options }

// Register adds the calls to the mux.
func Register(mux *http.ServeMux, o Options) {
	a := &api{o}
	for _, c := range calls {
		h := func(w http.ResponseWriter, r *http.Request) { c.serve(a, w, r) }
		if c.changes {
			h = a.guarded(h)
		}
		mux.HandleFunc(c.method+" "+c.path, h)
	}
}

// call is one call of the API. The page docs/openapi.json is made of these rows.
type call struct {
	method, path string
	summary      string
	changes      bool // something: only some may
	serve        func(*api, http.ResponseWriter, *http.Request)
	query        []parameter
	body         any         // of the type that the request's body has; nil: none
	responses    map[int]any // of the types that the responses have
}

// parameter is a parameter of the query.
type parameter struct {
	name, doc string
	repeated  bool
}

var calls = []call{
	{
		method: "GET", path: "/api/v1/config", summary: "The configuration in force, and how the last reload ended.",
		serve: (*api).config, responses: map[int]any{200: Config{}},
	},
	{
		method: "GET", path: "/api/v1/routes", summary: "The routes, in order of precedence.",
		serve: (*api).routes, responses: map[int]any{200: routeList{}},
	},
	{
		method: "GET", path: "/api/v1/routes/match", summary: "Which route takes a request, and why not the others.",
		serve: (*api).match, responses: map[int]any{200: Match{}, 400: failure{}},
		query: matchQuery,
	},
	{
		method: "GET", path: "/api/v1/upstreams", summary: "The upstreams and their backends.",
		serve: (*api).upstreams, responses: map[int]any{200: upstreamList{}},
	},
	order("drain", "Takes a backend out of picking. Requests in flight finish, streams get drain_streams. It survives a reload."),
	order("undrain", "Lets a backend that was drained be picked again, unless something else speaks against it."),
	order("eject", "Takes a backend out of picking as if its requests had failed, until it is readmitted."),
	order("readmit", "Ends the ejection of a backend, whoever ejected it."),
	{
		method: "POST", path: "/api/v1/reload", summary: "Reloads the configuration. One with a fault changes nothing.", changes: true,
		serve: (*api).reload, responses: map[int]any{200: applied{}, 422: refused{}},
	},
	{
		method: "PUT", path: "/api/v1/log/level", summary: "Sets the minimum level of the log for a while; then the configuration's holds again.", changes: true,
		serve: (*api).level, body: Level{}, responses: map[int]any{200: LevelSet{}, 400: failure{}},
	},
}

// failure is the body of a response that says what is wrong with a call.
type failure struct {
	Error string `json:"error"`
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.Encode(body)
}

// refuse says what is wrong with a call.
func refuse(w http.ResponseWriter, status int, what string) { respond(w, status, failure{what}) }

// words lists words for a message.
func words(list []string) string { return strings.Join(list, ", ") }
