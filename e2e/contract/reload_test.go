package contract

import (
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pace/e2e/pacetest"
)

// wantReload fails t unless line reports a reload that changed exactly these keys.
func wantReload(t *testing.T, line pacetest.Line, changes ...string) {
	t.Helper()
	if line.Text("msg") != "configuration reloaded" || line.Text("level") != "INFO" || !slices.Equal(line.List("changes"), changes) {
		t.Errorf("got %v, want a reload of %q", line, changes)
	}
}

// A request that is in flight ends at the backend it went to, and the next one goes where the new configuration
// says. What is unchanged keeps its connections.
func TestReload_Upstreams(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	a := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/held": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(a))
	held := p.Wire()
	held.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	a.WantGot(1, "/held")
	other := p.Wire() // stays open over the reload
	other.Send("GET /before HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, other.Response("GET"), 200)
	wantReload(t, p.Reload(upstreams(b)),
		fmt.Sprintf("upstreams.backends: added %q, removed %q", "http://"+b.Address(), "http://"+a.Address()))
	other.Send("GET /after HTTP/1.1\r\nHost: x\r\n\r\n")
	wantStatus(t, other.Response("GET"), 200)
	b.WantGot(1, "/after")
	close(open)
	wantStatus(t, held.Response("GET"), 200)
	pacetest.Eventually(t, func() error {
		if n := a.Open(); n > 0 {
			return fmt.Errorf("%d connections to the backend that left are open", n)
		}
		return nil
	})
	accepted := b.Accepted()
	wantReload(t, p.Reload(set(upstreams(b), "headers", "proxy_value", "edge")), `headers.proxy_value: "pace" became "edge"`)
	wantStatus(t, p.Get("/again"), 200)
	if got := b.WantGot(1, "/again")[0].Header.Get("X-Proxy"); got != "edge" {
		t.Errorf("X-Proxy is %q", got)
	}
	if b.Accepted() != accepted {
		t.Errorf("%d connections to the unchanged backend, %d before the reload", b.Accepted(), accepted)
	}
	p.WantMetric(2, "pace_config_reloads_total", "result", "applied")
}

// A limit that is unchanged goes on with its counts; one that changed begins anew.
func TestReload_Limits(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	limited := func(requests int) pacetest.Config {
		return set(upstreams(b), "rate_limit", "max_requests", requests)
	}
	p := pacetest.Start(t, limited(2))
	wantStatus(t, p.Get("/1"), 200)
	wantReload(t, p.Reload(set(limited(2), "server", "max_body_bytes", 4)), "server.max_body_bytes: 0 became 4")
	wantStatus(t, p.Send("POST", "/2", "12345"), 413)
	wantStatus(t, p.Get("/3"), 200)
	wantStatus(t, p.Get("/4"), 429)
	wantReload(t, p.Reload(limited(3)), "server.max_body_bytes: 4 became 0", "rate_limit.max_requests: 2 became 3")
	wantStatus(t, p.Get("/5"), 200)
	p.WantMetric(1, "pace_limiter_keys", "policy", "default")
	wantReload(t, p.Reload(upstreams(b)), `route "default".limits: removed "default"`, "rate_limit: removed")
	for range 5 {
		wantStatus(t, p.Get("/6"), 200)
	}
	p.WantMetric(0, "pace_limiter_keys")
	p.WantMetric(1, "pace_rejections_total", "reason", "rate_limited") // counters never restart
}

// A proxy becomes a trusted one, and stops being one, while its connection is open.
func TestReload_TrustOnAnOpenConnection(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	for i, trusted := range []bool{false, true, false} {
		if trusted {
			p.Reload(set(upstreams(b), "server", "trusted_proxies", []string{"127.0.0.0/8"}))
		} else {
			p.Reload(upstreams(b))
		}
		path := fmt.Sprintf("/%d", i)
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
		want := "127.0.0.1"
		if trusted {
			want = "192.0.2.7, 127.0.0.1"
		}
		if got := b.WantGot(1, path)[0].Header.Get("X-Forwarded-For"); got != want {
			t.Errorf("trusted %t: got %q, want %q", trusted, got, want)
		}
	}
}

// A faulty file changes nothing, and the log has all its faults as check prints them.
func TestReload_Refused(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	p.WantMetric(1, "pace_config_last_reload_successful")
	begun := p.Metrics().Sum("pace_config_last_reload_success_timestamp_seconds")
	p.WriteTOML("[upstreams]\nbackends = [\"127.0.0.1:1\"]\nmax_retires = 2\n[log]\nlevel = \"loud\"\n")
	line := p.HUP()
	want := []string{
		p.File + `:2: upstreams.backends[0]: no scheme in "127.0.0.1:1"; write "http://127.0.0.1:1"`,
		p.File + `:3: upstreams.max_retires: unknown key; did you mean max_retries?`,
		p.File + `:5: log.level: unknown word "loud"; write one of "debug", "info", "warn", "error"`,
	}
	if got := line.List("faults"); line.Text("level") != "ERROR" || len(got) != len(want) {
		t.Fatalf("got %v", line)
	} else {
		for i := range want {
			if !strings.HasPrefix(got[i], strings.SplitN(want[i], ";", 2)[0]) {
				t.Errorf("got  %s\nwant %s", got[i], want[i])
			}
		}
	}
	wantStatus(t, p.Get("/still"), 200)
	p.WantMetric(1, "pace_config_reloads_total", "result", "refused")
	p.WantMetric(0, "pace_config_last_reload_successful")
	if at := p.Metrics().Sum("pace_config_last_reload_success_timestamp_seconds"); at != begun || begun == 0 {
		t.Errorf("the last reload that succeeded was at %v, want the start, %v", at, begun)
	}
	if line := p.Reload(upstreams(b)); line.Text("msg") != "configuration unchanged" {
		t.Errorf("got %v", line)
	}
	p.WantMetric(1, "pace_config_last_reload_successful")
	p.WantMetric(1, "pace_config_reloads_total", "result", "unchanged")
}

// What cannot change while pace runs is refused by name, and with it all the rest of the file.
func TestReload_WhatNeedsARestart(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	cfg := set(set(upstreams(b), "server", "workers", 1), "metrics", "native_histograms", true)
	cfg = set(set(set(set(cfg, "admin", "listen", ""), "tracing", "endpoint", "http://127.0.0.1:1"), "tracing", "protocol", "http/protobuf"), "headers", "proxy_value", "new")
	line := p.Reload(cfg)
	faults := line.List("faults")
	for _, key := range []string{"server.workers", "admin.listen", "tracing.endpoint", "tracing.protocol", "metrics.native_histograms"} {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, ": "+key+": ") && strings.Contains(f, "restart pace") }) {
			t.Errorf("%s is not refused by name: %q", key, faults)
		}
	}
	if len(faults) != 5 {
		t.Errorf("got faults %q", faults)
	}
	wantStatus(t, p.Get("/x"), 200)
	if got := b.WantGot(1, "/x")[0].Header.Get("X-Proxy"); got != "pace" {
		t.Errorf("a part of a refused file is in force: X-Proxy is %q", got)
	}
}

// However the log changes, no line is lost, and the line about the change is in the log that the operator reads.
func TestReload_Log(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p := pacetest.Start(t, upstreams(b))
	file := filepath.Join(t.TempDir(), "log")
	p.Write(set(upstreams(b), "log", "file", file))
	p.Signal(sigHUP)
	pacetest.Eventually(t, func() error { // whichever file the line about the change is in, it is there
		if line := "log.file: "; !strings.Contains(p.Stderr(), line) {
			return contains(file, line)
		}
		return nil
	})
	p.WantMetric(1, "pace_config_reloads_total", "result", "applied") // the line comes a moment before the log is another
	wantStatus(t, p.Get("/to-the-file"), 200)
	pacetest.Eventually(t, func() error { return contains(file, `"path":"/to-the-file"`) })
	if strings.Contains(p.Stderr(), "/to-the-file") {
		t.Error("the line is on standard error, too")
	}
	p.Write(set(set(upstreams(b), "log", "file", file), "log", "level", "error"))
	p.Signal(sigHUP)
	pacetest.Eventually(t, func() error { return contains(file, `log.level: \"info\" became \"error\"`) })
	p.WantMetric(2, "pace_config_reloads_total", "result", "applied")
	wantStatus(t, p.Get("/unseen"), 200)
	p.Write(set(set(upstreams(b), "log", "file", file), "log", "format", "text"))
	p.Signal(sigHUP)
	pacetest.Eventually(t, func() error { return contains(file, "log.format: ") })
	p.WantMetric(3, "pace_config_reloads_total", "result", "applied")
	wantStatus(t, p.Get("/as-text"), 200)
	pacetest.Eventually(t, func() error { return contains(file, "path=/as-text") })
	if contains(file, "/unseen") == nil {
		t.Error("a line below the level was written")
	}
	p.Write(set(upstreams(b), "log", "file", filepath.Join(t.TempDir(), "no", "log")))
	p.Signal(sigHUP)
	pacetest.Eventually(t, func() error { return contains(file, "log.file: open ") })
	wantStatus(t, p.Get("/still"), 200)
	pacetest.Eventually(t, func() error { return contains(file, "path=/still") })
}

// Metrics can be switched off and on again: they go on where they stopped, and a request that is in flight
// meanwhile is counted as active no longer than it is.
func TestReload_Metrics(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.ByPath(map[string]pacetest.Behaviour{"/held": pacetest.Gated(open, pacetest.Fine), "/": pacetest.Fine}))
	p := pacetest.Start(t, upstreams(b))
	wantStatus(t, p.Get("/1"), 200)
	held := p.Wire()
	held.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/held")
	p.Reload(set(upstreams(b), "metrics", "enabled", false))
	for _, address := range []string{p.Proxy, p.Admin} {
		if resp, err := http.Get("http://" + address + "/metrics"); err != nil || resp.StatusCode != 404 {
			t.Errorf("metrics switched off, %s: got %v, %v", address, resp, err)
		}
	}
	wantStatus(t, p.Get("/2"), 200)
	close(open)
	wantStatus(t, held.Response("GET"), 200)
	p.Reload(set(upstreams(b), "metrics", "endpoint", "/page"))
	wantStatus(t, p.Get("/3"), 200)
	p.WantMetric(3, "http_server_request_duration_seconds_count")
	p.WantMetric(0, "http_server_active_requests")
	if body := p.Get("/page").Body; !strings.Contains(body, "pace_build_info") {
		t.Errorf("the page under its new path: got %q", body)
	}
}

// A SIGHUP while pace drains changes nothing: pace still ends.
func TestReload_WhileDraining(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	b := pacetest.NewBackend(t, pacetest.Gated(open, pacetest.Fine))
	p := pacetest.Start(t, upstreams(b))
	w := p.Wire()
	w.Send("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	b.WantGot(1, "/held")
	p.Signal(sigTERM)
	p.AwaitDraining()
	line := p.Reload(set(upstreams(b), "headers", "proxy_value", "new"))
	if faults := line.List("faults"); len(faults) != 1 || !strings.Contains(faults[0], "pace is draining") {
		t.Errorf("got %v", line)
	}
	close(open)
	wantStatus(t, w.Response("GET"), 200)
	if code := p.Wait(); code != 0 {
		t.Errorf("exit %d", code)
	}
}

// Reloads that are asked for at one time come one after the other, and the last text of the file is in force.
func TestReload_Concurrently(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	cfg, _ := withToken(t, upstreams(b), firstToken)
	p := pacetest.Start(t, cfg)
	var askers sync.WaitGroup
	for i := range 8 {
		askers.Go(func() {
			for j := range 5 {
				if i == 0 {
					p.Write(set(maps.Clone(cfg), "headers", "proxy_value", fmt.Sprintf("v%d", j)))
				}
				if i == 1 {
					p.Signal(sigHUP)
				}
				if status, got := callAPI(t, p, firstToken, "POST", "/api/v1/reload", ""); status != 200 {
					t.Errorf("got %d %v", status, got)
				}
			}
		})
	}
	askers.Wait()
	wantStatus(t, p.Get("/last"), 200)
	if got := b.WantGot(1, "/last")[0].Header.Get("X-Proxy"); got != "v4" {
		t.Errorf("X-Proxy is %q, want v4", got)
	}
}

// What is said of traces holds for the next request, on an open connection too.
func TestReload_Tracing(t *testing.T) {
	t.Parallel()
	b := pacetest.NewBackend(t, pacetest.Fine)
	p, _ := pacetest.StartTraced(t, set(upstreams(b), "tracing", "sample_ratio", 0.0))
	w := p.Wire()
	ask := func(path string) (pacetest.Response, pacetest.Line) {
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
		resp := w.Response("GET")
		wantStatus(t, resp, 200)
		return resp, p.WantAccess(path)
	}
	if _, line := ask("/unsampled"); line.Text("trace_sampled") != "false" {
		t.Errorf("got %v", line)
	}
	p.Reload(set(upstreams(b), "tracing", "response_header", "X-Other-Trace"))
	resp, line := ask("/sampled")
	if line.Text("trace_sampled") != "true" || resp.Header.Get("X-Other-Trace") != line.Text("trace_id") || resp.Header.Get("X-Trace-Id") != "" {
		t.Errorf("got %v, %v", line, resp.Header)
	}
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for path, trust := range map[string]string{"/continued": "all", "/linked": "none"} {
		p.Reload(set(upstreams(b), "tracing", "trust", trust))
		w.Send("GET " + path + " HTTP/1.1\r\nHost: x\r\nTraceparent: " + parent + "\r\n\r\n")
		wantStatus(t, w.Response("GET"), 200)
		if got := strings.Contains(parent, p.WantAccess(path).Text("trace_id")); got != (trust == "all") {
			t.Errorf("trust %s: continued: %t", trust, got)
		}
	}
}
