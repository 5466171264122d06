// Package dashboards makes a dashboard for Grafana, and recording and alert rules for Prometheus. Metrics,
// labels, outcomes, causes and remedies come from telemetry's tables, so a panel cannot query a metric that
// pace does not publish. It must not know the path of a request.
package dashboards

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// File is one file for Grafana (.json) or Prometheus (.yml).
type File struct {
	Name string
	Text []byte
}

// Route is a route of a configuration.
type Route struct {
	Name string
	Slow time.Duration // an exchange that takes longer is slow; 0: none is
}

// Files returns every file, with the same bytes at each call. With the routes of a configuration, the dashboard
// offers exactly these, and the alert about slow routes has the limit of each; without, both suit every pace.
func Files(routes []Route) ([]File, error) {
	overview, err := overviewJSON(routes)
	if err != nil {
		return nil, fmt.Errorf("pace: BUG: dashboard: %w", err)
	}
	return []File{{"pace-overview.json", overview}, {"pace-rules.yml", rulesYAML(rules(routes))}}, nil
}

// Write writes every file of [Files] into dir and returns their paths. It creates dir if it does not exist, and
// replaces files of the same names. An error says what to do.
func Write(dir string, routes []Route) (paths []string, err error) {
	files, err := Files(routes)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("%w; name a folder that you may write with --out", err)
	}
	for _, f := range files {
		path := filepath.Join(dir, f.Name)
		if err := os.WriteFile(path, f.Text, 0o644); err != nil {
			return paths, fmt.Errorf("%w; free the path, or name another folder with --out", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
