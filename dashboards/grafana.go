package dashboards

//lint:file-ignore SA1019 every Grafana imports the first model of dashboards, only the newest one the second

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	tables "github.com/grafana/grafana-foundation-sdk/go/table"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// The dashboard's variables, which choose the data that it shows.
const (
	prometheusVar = "prometheus"
	jaegerVar     = "jaeger"
	serviceVar    = "service"
	outcomeVar    = "outcome"
	traceVar      = "trace_id"
)

var (
	prometheusRef = common.DataSourceRef{Type: new("prometheus"), Uid: new("${" + prometheusVar + "}")}
	jaegerRef     = common.DataSourceRef{Type: new("jaeger"), Uid: new("${" + jaegerVar + "}")}
)

// overviewJSON returns the dashboard as Grafana imports it.
func overviewJSON(routes []Route) ([]byte, error) {
	b := dashboard.NewDashboardBuilder("pace overview").
		Uid("pace-overview").
		Description("How pace is doing, and who causes the failures. Made by: pace dashboards").
		Tags([]string{"pace"}).
		Time("now-1h", "now").
		Refresh("30s").
		Timezone(common.TimeZoneBrowser).
		Tooltip(dashboard.DashboardCursorSyncCrosshair)
	variables(b, routes)
	restarts(b)
	for _, r := range overview() {
		b.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			if p.width == 0 {
				p.width = equalWidth(len(r.panels))
			}
			b.WithPanel(p)
		}
	}
	traces(b)
	d, err := b.Build()
	if err != nil {
		return nil, err
	}
	number(d.Panels)
	raw, err := json.MarshalIndent(d, "", "  ")
	return append(raw, '\n'), err
}

// equalWidth returns the width of each of n panels in a row, so that they fill every line of the grid.
func equalWidth(n int) uint32 {
	switch {
	case n%3 == 0:
		return 8
	case n%4 == 0:
		return 6
	default:
		return 12
	}
}

// number sets the ids by which links and alerts refer to panels.
func number(panels []dashboard.PanelOrRowPanel) {
	for i := range panels {
		if p := panels[i].Panel; p != nil {
			p.Id = new(uint32(i + 1))
		} else {
			panels[i].RowPanel.Id = uint32(i + 1)
		}
	}
}

func variables(b *dashboard.DashboardBuilder, routes []Route) {
	b.WithVariable(dashboard.NewDatasourceVariableBuilder(prometheusVar).Type("prometheus").Label("Prometheus"))
	b.WithVariable(dashboard.NewDatasourceVariableBuilder(jaegerVar).Type("jaeger").Label("Jaeger"))
	b.WithVariable(valuesOf(job, metrics.BuildInfo.Name))
	b.WithVariable(valuesOf(instance, metrics.BuildInfo.Name+`{`+job+`=~"$job"}`))
	if len(routes) > 0 {
		b.WithVariable(namesOf(routes))
	} else {
		b.WithVariable(valuesOf(metrics.RouteName.Name, requests+`{`+job+`=~"$job"}`))
	}
	b.WithVariable(dashboard.NewTextBoxVariableBuilder(serviceVar).Label("Service in Jaeger").DefaultValue(dashboard.StringOrMap{String: new("pace")}))
	b.WithVariable(badOutcomes())
	b.WithVariable(dashboard.NewTextBoxVariableBuilder(traceVar).Label("Trace").DefaultValue(dashboard.StringOrMap{String: new("")}))
}

// badOutcomes is the variable that chooses the outcome whose traces are shown. Jaeger's error=true would
// find none, because the status of an OpenTelemetry span is not an attribute in Jaeger.
func badOutcomes() *dashboard.CustomVariableBuilder {
	var words []string
	for _, s := range sides() {
		for _, o := range s.outcomes {
			words = append(words, o.Word)
		}
	}
	first := dashboard.StringOrArrayOfString{String: new(telemetry.UpstreamError.String())}
	return dashboard.NewCustomVariableBuilder(outcomeVar).Label("Outcome in Jaeger").
		Values(dashboard.StringOrMap{String: new(strings.Join(words, ","))}).
		Current(dashboard.VariableOption{Selected: new(true), Text: first, Value: first})
}

// valuesOf is a variable that chooses among the values of a label. By default all are shown.
func valuesOf(label, series string) *dashboard.QueryVariableBuilder {
	all := dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}
	return dashboard.NewQueryVariableBuilder(label).
		Datasource(prometheusRef).
		Query(dashboard.StringOrMap{String: new(fmt.Sprintf("label_values(%s, %s)", series, label))}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).
		Sort(dashboard.VariableSortAlphabeticalAsc).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{Selected: new(true), Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}, Value: all})
}

// namesOf is a variable that chooses among routes. By default all are shown.
func namesOf(routes []Route) *dashboard.CustomVariableBuilder {
	var names []string
	for _, r := range routes {
		names = append(names, strings.NewReplacer(`\`, `\\`, `,`, `\,`).Replace(r.Name)) // a comma separates names
	}
	all := dashboard.StringOrArrayOfString{ArrayOfString: []string{"$__all"}}
	return dashboard.NewCustomVariableBuilder(metrics.RouteName.Name).
		Values(dashboard.StringOrMap{String: new(strings.Join(names, ","))}).
		Multi(true).IncludeAll(true).AllValue(".*").
		Current(dashboard.VariableOption{Selected: new(true), Text: dashboard.StringOrArrayOfString{ArrayOfString: []string{"All"}}, Value: all})
}

// restarts marks the moments at which an instance started.
func restarts(b *dashboard.DashboardBuilder) {
	b.Annotation(dashboard.NewAnnotationQueryBuilder().
		Name("Starts").Datasource(prometheusRef).Enable(true).IconColor("blue").
		Expr(restartExpr).TitleFormat("pace started").TextFormat(perLabel(instance)).Step("60s"))
}

// restartExpr has a sample at each step at which an instance's start time changed.
var restartExpr = fmt.Sprintf("changes(%s[2m]) > 0", onScreen.series(startTime))

// Build makes Grafana's panel.
func (p panel) Build() (dashboard.Panel, error) {
	build := map[kind]func() (dashboard.Panel, error){graph: p.graph, figure: p.figure, table: p.table}
	made, err := build[p.kind]()
	if err != nil {
		return made, err
	}
	made.Title, made.Datasource = new(p.title), &prometheusRef
	if p.doc != "" {
		made.Description = new(p.doc)
	}
	if made.GridPos == nil {
		made.GridPos = dashboard.NewGridPos()
	}
	made.GridPos.W = p.width
	if made.FieldConfig == nil {
		made.FieldConfig = dashboard.NewFieldConfigSource()
	}
	if p.unit != "" {
		made.FieldConfig.Defaults.Unit = new(p.unit)
	}
	for i, q := range p.queries {
		target, err := p.target(q, i).Build()
		if err != nil {
			return made, err
		}
		made.Targets = append(made.Targets, target)
	}
	return made, nil
}

// refID names the i-th query of a panel: A, B, …
func refID(i int) string { return string(rune('A' + i)) }

func (p panel) target(q query, i int) *prometheus.DataqueryBuilder {
	b := prometheus.NewDataqueryBuilder().Datasource(prometheusRef).RefId(refID(i)).
		Expr(q.expr).LegendFormat(q.legend).EditorMode(prometheus.QueryEditorModeCode).Exemplar(p.exemplars)
	switch p.kind {
	case graph:
		return b.Range()
	case figure:
		return b.Instant()
	default:
		return b.Instant().Format(prometheus.PromQueryFormatTable)
	}
}

func (p panel) graph() (dashboard.Panel, error) {
	b := timeseries.NewPanelBuilder().Height(8).Min(0).
		ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().ShowLegend(true).
			DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	if p.stacked { // without lines: those of series that are zero would lie on top of the others
		b.FillOpacity(70).LineWidth(0).Stacking(common.NewStackingConfigBuilder().Mode(common.StackingModeNormal))
	}
	if p.unit == each {
		b.AxisSoftMax(0.1) // else the axis of what never happens ends at 100
	}
	for _, s := range p.shades {
		b.OverrideByRegexp(s.pattern, colored("shades", s.color))
	}
	for _, q := range p.queries {
		if color := p.colors[q.legend]; color != "" {
			b.OverrideByName(q.legend, colored("fixed", color))
		}
	}
	return b.Build()
}

func colored(mode, color string) []dashboard.DynamicConfigValue {
	return []dashboard.DynamicConfigValue{{Id: "color", Value: map[string]string{"mode": mode, "fixedColor": color}}}
}

func (p panel) figure() (dashboard.Panel, error) {
	b := stat.NewPanelBuilder().Height(4).
		GraphMode(common.BigValueGraphModeNone).
		ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	if p.limit > 0 {
		return b.ColorMode(common.BigValueColorModeBackgroundSolid).Thresholds(redFrom(p.limit, "dark-")).Build()
	}
	return b.ColorMode(common.BigValueColorModeNone).Build()
}

// redFrom colours values green, and red from a limit on. White text needs the dark tone of both.
func redFrom(limit float64, tone string) *dashboard.ThresholdsConfigBuilder {
	return dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).
		Steps([]dashboard.Threshold{{Color: tone + "green"}, {Color: tone + "red", Value: new(limit)}})
}

// table shows each query as a column named by its legend, and each label as one.
func (p panel) table() (dashboard.Panel, error) {
	titles, hidden := map[string]string{}, map[string]bool{"Time": true}
	for i, q := range p.queries {
		titles["Value #"+refID(i)] = q.legend
	}
	titles["Value"] = p.queries[0].legend // its name if there is only one query
	b := newTable().Height(cmp.Or(p.height, 8)).
		WithTransformation(dashboard.DataTransformerConfig{Id: "merge", Options: map[string]any{}}).
		SortBy([]cog.Builder[common.TableSortByFieldState]{common.NewTableSortByFieldStateBuilder().DisplayName(p.worst).Desc(true)})
	for _, name := range slices.Sorted(maps.Keys(p.columns)) {
		c := p.columns[name]
		if c.title != "" {
			titles[name] = c.title
		}
		set, err := c.set()
		if err != nil {
			return dashboard.Panel{}, err
		}
		if len(set) > 0 {
			b.OverrideByName(name, set)
		}
	}
	b.WithTransformation(dashboard.DataTransformerConfig{Id: "organize", Options: map[string]any{"renameByName": titles, "excludeByName": hidden}})
	return b.Build()
}

// set returns what the column has of its own.
func (c column) set() (list []dashboard.DynamicConfigValue, err error) {
	if c.unit != "" {
		list = append(list, dashboard.DynamicConfigValue{Id: "unit", Value: c.unit})
	}
	if c.limit > 0 {
		thresholds, err := redFrom(c.limit, "").Build()
		if err != nil {
			return nil, err
		}
		list = append(list, dashboard.DynamicConfigValue{Id: "thresholds", Value: thresholds},
			dashboard.DynamicConfigValue{Id: "custom.cellOptions", Value: map[string]string{"type": "color-text"}})
	}
	return list, nil
}

// newTable begins a table without a footer: the library's default footer has a null that Grafana's model
// rejects.
func newTable() *tables.PanelBuilder {
	return tables.NewPanelBuilder().Footer(common.NewTableFooterOptionsBuilder().Reducer([]string{}))
}
