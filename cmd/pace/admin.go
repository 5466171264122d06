package main

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

	"pace/proxy/front"
	"pace/telemetry/inflight"
)

// admin is the listener for operators.
type admin struct {
	http  http.Server
	ready atomic.Bool // what /readyz reports; false while draining
	hosts hosts
}

// newAdmin returns the admin listener's server. profiles adds /debug/pprof/.
func newAdmin(o observed, living *front.InFlight, profiles bool, own hosts) *admin {
	a := &admin{hosts: own}
	mux := http.NewServeMux()
	if m := o.scrape(); m != nil {
		mux.Handle("GET /metrics", m)
	}
	mux.HandleFunc("GET /api/v1/inflight", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(map[string]any{"inflight": inflight.List(living.Records(), time.Now())})
	})
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.readyz)
	if profiles {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	a.http.Handler = mux
	a.http.ReadHeaderTimeout = 10 * time.Second
	a.http.ErrorLog = slog.NewLogLogger(o.log.Handler(), slog.LevelWarn)
	return a
}

// readyz responds 200 while pace accepts requests, and 503 while it drains.
func (a *admin) readyz(w http.ResponseWriter, _ *http.Request) {
	if !a.ready.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// serve serves l until the server is closed.
func (a *admin) serve(l net.Listener) error {
	a.http.Handler = a.hosts.guard(a.http.Handler, l.Addr())
	if err := a.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
