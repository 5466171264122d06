package server

import (
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"pace/config"
	adminapi "pace/proxy/admin"
	"pace/proxy/front"
	"pace/telemetry/inflight"
)

// admin is the listener for operators.
type admin struct {
	http    http.Server
	ready   atomic.Bool // what /readyz reports; false while draining
	inForce atomic.Pointer[guarded]

	observed observed
	living   *front.InFlight
	lacking  func() string                       // says which certificates are not there yet, without which no client can be served over TLS; "": enough are
	api      func(token string) adminapi.Options // nil: there is no API yet
}

// guarded has the part of the listener that depends on the configuration in force.
type guarded struct {
	hosts hosts
	pages http.Handler
}

// newAdmin returns the admin listener's server.
func newAdmin(o observed, living *front.InFlight, f *config.File) *admin {
	a := &admin{observed: o, living: living}
	a.http.ReadHeaderTimeout = 10 * time.Second
	a.http.ErrorLog = slog.NewLogLogger(o.log.Handler(), slog.LevelWarn)
	a.change(f, "")
	return a
}

// change puts f in force for every request that comes from now on. Calls of the API that change something need
// the token.
func (a *admin) change(f *config.File, token string) {
	a.inForce.Store(&guarded{ownHosts(f.Admin), a.pages(f, token)})
}

func (a *admin) pages(f *config.File, token string) http.Handler {
	mux := http.NewServeMux()
	if m := a.observed.scrape(f); m != nil {
		mux.Handle("GET /metrics", m)
	}
	mux.HandleFunc("GET /api/v1/inflight", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"inflight": inflight.List(a.living.Records(), time.Now())})
	})
	a.observed.recent.Register(mux)
	if a.api != nil {
		adminapi.Register(mux, a.api(token))
	}
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.readyz)
	if f.Admin.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	return mux
}

// readyz responds 200 while pace accepts requests, and 503 while it drains, or has no certificate for any client.
func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	if lacking := a.lacking(); lacking != "" {
		http.Error(w, lacking, http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// serve serves l until the server is closed.
func (a *admin) serve(l net.Listener) error {
	loopback, socket := isLoopback(l.Addr()), l.Addr().Network() == "unix"
	a.http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := a.inForce.Load()
		if !socket && !g.hosts.allow(r.Host, loopback) { // no browser reaches a socket in the file system
			http.Error(w, notOurHost, http.StatusForbidden)
			return
		}
		g.pages.ServeHTTP(w, r)
	})
	if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
