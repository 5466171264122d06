// Package dashboards makes a dashboard for Grafana, and recording and alert rules for Prometheus. Metrics,
// labels, outcomes, causes and remedies come from telemetry's tables, so a panel cannot query a metric that
// pace does not publish. It must not know the path of a request.
package dashboards

import (
	"fmt"
	"os"
	"path/filepath"
)

// File is one file for Grafana (.json) or Prometheus (.yml).
type File struct {
	Name string
	Text []byte
}

// Files returns every file, with the same bytes at each call.
func Files() ([]File, error) {
	overview, err := overviewJSON()
	if err != nil {
		return nil, fmt.Errorf("pace: BUG: dashboard: %w", err)
	}
	return []File{{"pace-overview.json", overview}, {"pace-rules.yml", rulesYAML(rules())}}, nil
}

// Write writes every file into dir and returns their paths. It creates dir if it does not exist, and
// replaces files of the same names. An error says what to do.
func Write(dir string) (paths []string, err error) {
	files, err := Files()
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
