package dashboards

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pace/e2e/parts"
)

// undrawn are the panels that the page does not show, and why.
var undrawn = map[string]string{
	"Trace ": "Grafana does not publish its view of one trace",
}

// seen is a panel as the page shows it.
type seen struct {
	Title, Error string
	Series       []struct{ Name, Value string } // the last value of each; of a table, the first of each column
	Text         string                         // all that can be read in the panel
}

// wantSeen has Grafana's own components draw the dashboard, and demands of each panel that it shows data and no
// error. The browser may ask nobody but us, or its console says so. The picture is an artifact of the test.
func wantSeen(t *testing.T, g grafana) {
	t.Helper()
	var panels []seen
	var picture []byte
	for range 4 { // what a pace shows alone is not there at a moment at which the scrape of it came too late
		g.to = time.Now()
		if panels, picture = g.draw(t); !slices.ContainsFunc(panels, seen.empty) {
			break
		}
	}
	if err := os.WriteFile(filepath.Join(t.ArtifactDir(), "dashboard.png"), picture, 0o644); err != nil {
		t.Error(err)
	}
	for _, p := range panels {
		if _, ok := undrawn[p.Title]; ok == (p.Error == "") {
			t.Errorf("panel %q has the error %q; is listed as undrawn: %v", p.Title, p.Error, ok)
		}
		if p.empty() {
			t.Errorf("panel %q is empty", p.Title)
		}
		for _, s := range p.Series {
			if !strings.Contains(p.Text, s.Name) && (s.Value == "" || !strings.Contains(p.Text, s.Value)) {
				t.Errorf("panel %q shows neither the name of the series %q nor its value %q; it reads %q", p.Title, s.Name, s.Value, p.Text)
			}
		}
	}
}

func (s seen) empty() bool { return s.Error == "" && len(s.Series) == 0 }

// grafana is what Grafana would know: its data sources, a dashboard, and the time that it shows.
type grafana struct {
	prometheus, jaeger string // URLs
	dashboard          string // a file
	from, to           time.Time
	rows               int // how many of its rows are shown; 0: all
}

// draw shows the dashboard in a browser, and returns its panels and a picture of it.
func (g grafana) draw(t *testing.T) (panels []seen, picture []byte) {
	t.Helper()
	server := httptest.NewServer(g.page(t))
	defer server.Close()
	const width, points = "1600", 400
	span := g.to.Sub(g.from)
	view := url.Values{
		"width": {width}, "rows": {fmt.Sprint(g.rows)},
		"from": {fmt.Sprint(g.from.Unix())}, "to": {fmt.Sprintf("%.3f", float64(g.to.UnixMilli())/1000)}, "step": {fmt.Sprint(max(1, int(span.Seconds())/points))},
		// The variables.
		"job": {".*"}, "instance": {".*"}, "pace_route": {".*"}, "service": {service}, "outcome": {"upstream_error"}, "trace_id": {""},
		"__rate_interval": {"10s"}, "__range": {fmt.Sprintf("%.0fs", span.Seconds())},
	}
	shown := parts.Browse[struct {
		Panels []seen
		Failed string
	}](t, server.URL+"/?"+view.Encode(), 1600, "window.seen")
	if shown.Value.Failed != "" || len(shown.Value.Panels) == 0 {
		t.Errorf("the page shows %d panels, and failed with %q", len(shown.Value.Panels), shown.Value.Failed)
	}
	for _, line := range shown.Console {
		t.Errorf("the page's console: %s", line)
	}
	return shown.Value.Panels, shown.PNG
}

// page serves the dashboard and all that it asks for.
func (g grafana) page(t *testing.T) http.Handler {
	t.Helper()
	modules := filepath.Join(parts.Path(t, "grafana"), "node_modules")
	inter := filepath.Join(modules, "@fontsource", "inter", "files")
	mux := http.NewServeMux()
	for path, file := range map[string]string{
		"/{$}":            filepath.Join("page", "index.html"),
		"/dashboard.json": g.dashboard,
		"/public/fonts/inter/Inter-Regular.woff2": filepath.Join(inter, "inter-latin-400-normal.woff2"),
		"/public/fonts/inter/Inter-Medium.woff2":  filepath.Join(inter, "inter-latin-500-normal.woff2"),
	} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	mux.Handle("/page/", http.StripPrefix("/page/", http.FileServer(http.Dir(build(t, modules)))))
	icons := http.Dir(filepath.Join(modules, "@grafana", "ui", "dist", "public"))
	mux.Handle("/public/build/", http.StripPrefix("/public/build/", http.FileServer(icons)))
	for prefix, source := range map[string]string{"/prometheus": g.prometheus, "/jaeger": g.jaeger} {
		target, err := url.Parse(source)
		if err != nil {
			t.Fatal(err)
		}
		mux.Handle(prefix+"/", http.StripPrefix(prefix, httputil.NewSingleHostReverseProxy(target)))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'self' data: 'unsafe-inline' 'unsafe-eval'")
		mux.ServeHTTP(w, r)
	})
}

// build bundles the page with Grafana's components, and returns the folder of the bundle.
func build(t *testing.T, modules string) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(t.Context(), filepath.Join(modules, ".bin", "esbuild"), "index.js", "--bundle", "--minify",
		"--format=esm", "--jsx=automatic", `--define:process.env.NODE_ENV="production"`, "--loader:.ttf=empty", "--outdir="+dir, "--log-level=warning")
	cmd.Dir, cmd.Env = "page", append(os.Environ(), "NODE_PATH="+modules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("the page cannot be built: %v\n%s", err, out)
	}
	return dir
}
