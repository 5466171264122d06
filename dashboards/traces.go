package dashboards

//lint:file-ignore SA1019 every Grafana imports the first model of dashboards, only the newest one the second

import (
	"maps"

	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"

	"pace/telemetry/metrics"
)

// traces adds the row with data from Jaeger: the latest failures, and one whole trace.
func traces(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Traces"))
	b.WithPanel(newTable().
		Title("Requests that ended as $" + outcomeVar).
		Description("The newest traces of the outcome chosen above. A click on one shows it; its id in the field above shows it here.").
		Datasource(jaegerRef).Span(9).Height(14).
		WithTarget(jaegerQuery{"queryType": "search", "service": "$" + serviceVar, "tags": metrics.Outcome.Key + "=$" + outcomeVar, "limit": 20}))
	b.WithPanel(dashboard.NewPanelBuilder().Type("traces").
		Title("Trace $" + traceVar).
		Description("Each attempt is a span below the request's; limits, failovers and retries are its events.").
		Datasource(jaegerRef).Span(15).Height(14).
		WithTarget(jaegerQuery{"query": "$" + traceVar}))
}

// jaegerQuery is a query of Grafana's Jaeger data source. Grafana's library has no model for it.
type jaegerQuery map[string]any

// Build adds what every query has.
func (q jaegerQuery) Build() (variants.Dataquery, error) {
	query := variants.UnknownDataquery{"refId": refID(0), "datasource": jaegerRef}
	maps.Copy(query, q)
	return query, nil
}
