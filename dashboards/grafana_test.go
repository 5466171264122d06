package dashboards

//lint:file-ignore SA1019 every Grafana imports the first model of dashboards, only the newest one the second

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

func TestOverview_IsWhatGrafanaReads(t *testing.T) {
	raw := overviewText(t)
	if err := readStrictly(raw); err != nil {
		t.Errorf("Grafana's model refuses it: %v", err)
	}
	for _, typo := range [][2]string{{`"expr"`, `"exrp"`}, {`"schemaVersion"`, `"schemaVersoin"`}, {`"gridPos": {`, `"gridPos": {"z": 1,`}} {
		if err := readStrictly(strings.Replace(raw, typo[0], typo[1], 1)); err == nil {
			t.Errorf("%s for %s is not found: the check is blind", typo[1], typo[0])
		}
	}
}

// readStrictly reads a dashboard into Grafana's own model, and fails for a field that the model does not have.
func readStrictly(raw string) error {
	plugins.RegisterDefaultPlugins()
	err := new(dashboard.Dashboard).UnmarshalJSONStrict([]byte(raw))
	if all, ok := errors.AsType[cog.BuildErrors](err); ok && len(all) == 0 {
		return nil // it returns an empty list as an error
	}
	return err
}

// shown is a panel as plain JSON.
type shown struct {
	ID                       int
	Type, Title, Description string
	GridPos                  struct{ X, Y, W, H int }
	Datasource               struct{ Type, UID string }
	Targets                  []struct {
		Expr, Query, QueryType, RefID string
		Exemplar                      bool
		Datasource                    struct{ Type, UID string }
	}
}

func panels(t *testing.T) []shown {
	t.Helper()
	var d struct{ Panels []shown }
	if err := json.Unmarshal([]byte(overviewText(t)), &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

func TestOverview_PanelsAreToldApart(t *testing.T) {
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range panels(t) {
		if p.ID == 0 || ids[p.ID] || titles[p.Title] {
			t.Errorf("panel %d %q: its id or title is missing or not its own", p.ID, p.Title)
		}
		ids[p.ID], titles[p.Title] = true, true
		if p.Type != "row" && p.Description == "" && !strings.Contains("Goroutines Heap in use Resident memory", p.Title) {
			t.Errorf("panel %q does not say what to look for", p.Title)
		}
	}
}

func TestOverview_PanelsDoNotOverlap(t *testing.T) {
	taken := map[[2]int]string{}
	for _, p := range panels(t) {
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%q lies at %d,%d, where %q is or the grid ends", p.Title, x, y, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, p := range panels(t) {
		if y := p.GridPos.Y; p.Type != "row" && taken[[2]int{23, y}] == "" {
			t.Errorf("beside %q the line is not full", p.Title)
		}
	}
}

func TestOverview_AsksTheChosenSources(t *testing.T) {
	kinds := map[string]int{}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			want := map[string]string{"prometheus": "${prometheus}", "jaeger": "${jaeger}"}[target.Datasource.Type]
			if want == "" || target.Datasource.UID != want || p.Datasource != target.Datasource {
				t.Errorf("%q asks %+v, and its panel %+v", p.Title, target.Datasource, p.Datasource)
			}
			kinds[target.Datasource.Type]++
		}
	}
	if kinds["prometheus"] == 0 || kinds["jaeger"] == 0 {
		t.Errorf("queries by kind of source: got %v, want some of both", kinds)
	}
}

func TestOverview_DurationsHaveExemplars(t *testing.T) {
	got := map[string]bool{}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			if target.Exemplar {
				got[p.Title] = true
			}
		}
	}
	want := map[string]bool{"Duration of requests": true, "p99 by route": true, "p99 by backend": true}
	if !maps.Equal(got, want) {
		t.Errorf("panels with exemplars: got %v, want %v", got, want)
	}
}

func overviewText(t *testing.T) string {
	t.Helper()
	raw, err := overviewJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
