// Package dashboards runs what `pace dashboards` writes: every expression against a real Prometheus
// that scrapes real paces, the alerts against promtool, the searches against a real Jaeger.
package dashboards

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pace/e2e/pacetest"
)

func TestMain(m *testing.M) { pacetest.Main(m) }

// written is what the binary wrote: paths of the dashboard and of the rules.
type written struct{ overview, rules string }

// writeDashboards runs pace dashboards.
func writeDashboards(t *testing.T) written {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "made", "for", "it")
	exit := pacetest.Exec(t, t.TempDir(), nil, "dashboards", "--out", dir)
	w := written{filepath.Join(dir, "pace-overview.json"), filepath.Join(dir, "pace-rules.yml")}
	if want := w.overview + "\n" + w.rules + "\n"; exit.Code != 0 || exit.Stdout != want {
		t.Fatalf("pace dashboards: exit %d, wrote %q, want %q\n%s", exit.Code, exit.Stdout, want, exit.Stderr)
	}
	return w
}

func TestCommand_SaysWhatToDo(t *testing.T) {
	tests := map[string]struct {
		args []string
		code int
		want string
	}{
		"no folder is named":          {[]string{"dashboards"}, 2, "--out"},
		"the folder cannot be made":   {[]string{"dashboards", "--out", "/dev/null/x"}, 1, "--out"},
		"an argument that is no flag": {[]string{"dashboards", "x"}, 2, "x"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			exit := pacetest.Exec(t, t.TempDir(), nil, tt.args...)
			if exit.Code != tt.code || !strings.Contains(exit.Stderr, tt.want) || exit.Stdout != "" {
				t.Errorf("pace %q: got exit %d, %q; want %d and %q", tt.args, exit.Code, exit.Stderr, tt.code, tt.want)
			}
		})
	}
}

// Its queries would show nothing.
func TestCommand_WarnsOfNativeHistograms(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "pace.toml")
	if err := os.WriteFile(file, []byte("upstreams.backends = [\"http://10.0.0.1:80\"]\nmetrics.native_histograms = true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	exit := pacetest.Exec(t, dir, nil, "dashboards", "--out", dir, "--config", file)
	if want := file + ":2: metrics.native_histograms: warning: "; exit.Code != 0 || !strings.HasPrefix(exit.Stderr, want) {
		t.Errorf("exit %d, %q; want 0 and %q", exit.Code, exit.Stderr, want)
	}
}
