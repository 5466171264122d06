package dashboards

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pace/telemetry/metrics"
)

func TestExpressions_AskOnlyForWhatIsPublished(t *testing.T) {
	published := published(t)
	expressions := expressions(t)
	if len(expressions) < 60 {
		t.Fatalf("%d expressions are found: the search for them is blind", len(expressions))
	}
	for _, expr := range expressions {
		if err := check(expr, published); err != nil {
			t.Errorf("%v\nin %s", err, expr)
		}
	}
}

func TestExpressions_ThatAskForOthersAreFound(t *testing.T) {
	published := published(t)
	for expr, want := range map[string]string{
		"sum(rate(pace_failover_total[5m]))":                                       "pace_failover_total is no metric",
		`sum by (reson) (rate(pace_failovers_total[5m]))`:                          "reson is no label of [pace_failovers_total]",
		`pace_rejections_total{pace_upstream="default"}`:                           "pace_upstream is no label of [pace_rejections_total]",
		`pace_connections_bucket`:                                                  "pace_connections_bucket is no metric",
		`sum by (le) (rate(http_server_request_duration_seconds_count[5m]))`:       "le is no label of [http_server_request_duration_seconds_count]",
		`rate(pace_failovers_total[5m]) / on (state) rate(pace_retries_total[5m])`: "state is no label of [pace_failovers_total pace_retries_total]",
		`summ(up)`: "summ is no function",
	} {
		if err := check(expr, published); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", expr, err, want)
		}
	}
}

// Every published metric is in a panel or a rule. The histogram of the older proxy is not: its users have their
// own dashboards.
func TestExpressions_ShowEveryInstrument(t *testing.T) {
	all := strings.Join(expressions(t), "\n")
	for _, i := range metrics.Instruments() {
		if i.Name != metrics.OlderDuration.Name && !regexp.MustCompile(`\b`+i.Name).MatchString(all) {
			t.Errorf("no panel and no rule asks for %s", i.Name)
		}
	}
}

// Each legend and each annotation names labels that its expression's series have.
func TestLegends_NameLabelsOfTheirSeries(t *testing.T) {
	published := published(t)
	for _, r := range overview() {
		for _, p := range r.panels {
			for _, q := range p.queries {
				wantLabels(t, published, q.expr, regexp.MustCompile(`[{ ](\w+)}}`).FindAllStringSubmatch(q.legend, -1))
			}
		}
	}
	for _, r := range alerts(nil) {
		for _, a := range r.Annotations {
			wantLabels(t, published, r.Expr, regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(a.Value, -1))
		}
	}
}

func wantLabels(t *testing.T, published map[string][]string, expr string, matches [][]string) {
	t.Helper()
	for _, match := range matches {
		if !slices.Contains(resultLabels(expr, published), match[1]) {
			t.Errorf("%s is shown, but is no label of what comes of %s", match[1], expr)
		}
	}
}

// published maps each metric that Prometheus will have to its labels: telemetry's, the collectors'
// that panels use, Prometheus' own, and what the rules record.
func published(t *testing.T) map[string][]string {
	t.Helper()
	all := map[string][]string{"up": {}, "ALERTS": {"alertname", "alertstate"}}
	for _, name := range []string{goroutines, heapInUse, cpuSeconds, residentSize, openFiles, maxFiles, startTime} {
		all[name] = []string{}
	}
	all[gcPause] = []string{"quantile"}
	for _, i := range metrics.Instruments() {
		if i.Type != metrics.Histogram {
			all[i.Name] = i.LabelNames()
			continue
		}
		all[i.Name+"_count"], all[i.Name+"_sum"] = i.LabelNames(), i.LabelNames()
		all[i.Name+"_bucket"] = append([]string{le}, i.LabelNames()...)
	}
	for name, labels := range all {
		all[name] = append([]string{job, instance}, labels...)
	}
	for _, r := range recordings() {
		labels := resultLabels(r.Expr, all)
		for _, l := range r.Labels {
			labels = append(labels, l.Name)
		}
		all[r.Record] = labels
	}
	return all
}

// expressions returns every expression of the dashboard, as its JSON has them, and of the rules.
func expressions(t *testing.T) (list []string) {
	t.Helper()
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			if target.Datasource.Type == "prometheus" {
				list = append(list, target.Expr)
			}
		}
	}
	var d struct {
		Annotations struct{ List []struct{ Expr string } }
		Templating  struct {
			List []struct {
				Type  string
				Query any
			}
		}
	}
	if err := json.Unmarshal([]byte(overviewText(t)), &d); err != nil {
		t.Fatal(err)
	}
	for _, a := range d.Annotations.List {
		list = append(list, a.Expr)
	}
	for _, v := range d.Templating.List {
		if v.Type == "query" {
			series, label, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Query.(string), "label_values("), ")"), ", ")
			list = append(list, fmt.Sprintf("count by (%s) (%s)", label, series))
		}
	}
	for _, r := range rules(nil) {
		list = append(list, r.Expr)
	}
	return list
}

var (
	token      = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|[A-Za-z_][A-Za-z0-9_:]*|\d[\w.]*|\[[^\]]*\]|\S`)
	name       = regexp.MustCompile(`^[A-Za-z_]`)
	operators  = []string{"or", "and", "unless", "offset"}
	groupers   = []string{"by", "on", "group_left"}
	functions  = []string{"sum", "count", "min", "max", "topk", "rate", "increase", "changes", "histogram_quantile", "label_replace", "round", "vector", "last_over_time", "time"}
	aggregator = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// asked has the selectors of an expression, and the labels by which it groups or joins.
type asked struct {
	metrics  []string
	matchers map[string][]string // labels by metric
	groups   []string
	unknown  []string // functions
}

func read(expr string) asked {
	a := asked{matchers: map[string][]string{}}
	tokens := append(token.FindAllString(expr, -1), "")
	for i := 0; i < len(tokens)-1; i++ {
		switch word, next := tokens[i], tokens[i+1]; {
		case !name.MatchString(word) || slices.Contains(operators, word):
		case slices.Contains(groupers, word):
			end := i + slices.Index(tokens[i:], ")")
			a.groups = append(a.groups, labelsIn(tokens[i+2:end])...)
			i = end
		case next == "(" || slices.Contains(groupers, next):
			if !slices.Contains(functions, word) {
				a.unknown = append(a.unknown, word)
			}
		default:
			a.metrics = append(a.metrics, word)
			if next == "{" {
				end := i + slices.Index(tokens[i:], "}")
				a.matchers[word] = append(a.matchers[word], labelsIn(tokens[i+2:end])...)
				i = end
			}
		}
	}
	return a
}

func labelsIn(tokens []string) []string {
	return slices.DeleteFunc(slices.Clone(tokens), func(s string) bool { return !name.MatchString(s) })
}

func check(expr string, published map[string][]string) error {
	a := read(expr)
	for _, f := range a.unknown {
		return fmt.Errorf("%s is no function", f)
	}
	for _, metric := range a.metrics {
		labels, ok := published[metric]
		if !ok {
			return fmt.Errorf("%s is no metric", metric)
		}
		for _, l := range a.matchers[metric] {
			if !slices.Contains(labels, l) {
				return fmt.Errorf("%s is no label of [%s]", l, metric)
			}
		}
	}
	for _, l := range a.groups {
		if !slices.ContainsFunc(a.metrics, func(m string) bool { return slices.Contains(published[m], l) }) {
			return fmt.Errorf("%s is no label of %v", l, a.metrics)
		}
	}
	return nil
}

// resultLabels returns the labels of what an expression yields: those by which it aggregates first,
// or else all of its first metric.
func resultLabels(expr string, published map[string][]string) []string {
	if m := aggregator.FindStringSubmatch(expr); m != nil {
		return strings.Split(m[1], ", ")
	}
	return published[read(expr).metrics[0]]
}
