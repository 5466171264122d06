package dashboards

import (
	"fmt"
	"slices"
	"strings"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// Labels that Prometheus itself adds, to what it scrapes and to histograms.
const (
	job      = "job"
	instance = "instance"
	le       = "le"
)

// view says which series an expression reads, over which window, and how long ago.
type view struct {
	matchers, window, ago string
	route                 string // the matcher of the series that belong to a route; "": all routes
}

var (
	onScreen = view{
		matchers: job + `=~"$job",` + instance + `=~"$instance"`,
		route:    metrics.RouteName.Name + `=~"$` + metrics.RouteName.Name + `"`,
		window:   "$__rate_interval",
	}
	allRoutes = view{matchers: onScreen.matchers, window: onScreen.window}             // where some series have no route
	recent    = view{matchers: onScreen.matchers, route: onScreen.route, window: "5m"} // for one figure of the present
	before    = view{matchers: onScreen.matchers, route: onScreen.route, window: "5m", ago: " offset 1h"}
	inRules   = view{window: "5m"}
)

// hasRoute reports whether the series of a metric belong to a route.
func hasRoute(metric string) bool {
	return slices.ContainsFunc(metrics.Instruments(), func(i metrics.Instrument) bool {
		suffix, of := strings.CutPrefix(metric, i.Name)
		return of && slices.Contains([]string{"", "_bucket", "_count", "_sum"}, suffix) && slices.Contains(i.LabelNames(), metrics.RouteName.Name)
	})
}

// series selects the series of a metric that match.
func (v view) series(metric string, matchers ...string) string {
	if v.route != "" && hasRoute(metric) {
		matchers = append([]string{v.route}, matchers...)
	}
	if v.matchers != "" {
		matchers = append([]string{v.matchers}, matchers...)
	}
	if len(matchers) == 0 {
		return metric
	}
	return metric + "{" + strings.Join(matchers, ",") + "}"
}

// rate is the increase per second of the series of a metric that match.
func (v view) rate(metric string, matchers ...string) string {
	return fmt.Sprintf("rate(%s[%s]%s)", v.series(metric, matchers...), v.window, v.ago)
}

// rateBy adds up the rates of the series with the same values of the labels; without labels, of all.
func (v view) rateBy(labels []string, metric string, matchers ...string) string {
	return sumBy(labels, v.rate(metric, matchers...))
}

// quantileBy is a quantile of a histogram, for each set of the labels.
func (v view) quantileBy(q float64, labels []string, histogram string, matchers ...string) string {
	return fmt.Sprintf("histogram_quantile(%v, %s)", q, v.rateBy(append(labels, le), histogram+"_bucket", matchers...))
}

func sumBy(labels []string, expr string) string { return aggregate("sum", labels, expr) }

func aggregate(operator string, labels []string, expr string) string {
	if len(labels) == 0 {
		return fmt.Sprintf("%s(%s)", operator, expr)
	}
	return fmt.Sprintf("%s by (%s) (%s)", operator, strings.Join(labels, ", "), expr)
}

// by is a list of labels.
func by(labels ...string) []string { return labels }

// count names the series that counts the observations of a histogram.
func count(histogram string) string { return histogram + "_count" }

// oneOf matches a label whose value is the word of one of the outcomes.
func oneOf(label string, outcomes []telemetry.OutcomeInfo) string {
	return fmt.Sprintf("%s=~%q", label, words(outcomes))
}

// words is a regular expression that matches the word of each outcome.
func words(outcomes []telemetry.OutcomeInfo) string {
	return strings.Join(telemetry.WordsOf(outcomes), "|")
}

// is matches a label that has the value.
func is(label, value string) string { return fmt.Sprintf("%s=%q", label, value) }

// perLabel is a legend with the values of the labels.
func perLabel(labels ...string) string { return "{{" + strings.Join(labels, "}} {{") + "}}" }
