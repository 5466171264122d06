package dashboards

import (
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// traces adds the row whose data is Jaeger's: what failed of late, and one trace as a whole.
func traces(b *dashboard.DashboardBuilder) {
	b.WithRow(dashboard.NewRowBuilder("Traces"))
	b.WithPanel(newTable().
		Title("Requests that failed").
		Description("The newest traces with an error. A click on one shows it; its id in the field above shows it here.").
		Datasource(jaegerRef).Span(9).Height(14).
		WithTarget(jaegerQuery{"queryType": "search", "service": "$" + serviceVar, "tags": "error=true", "limit": 20}))
	b.WithPanel(dashboard.NewPanelBuilder().Type("traces").
		Title("Trace $" + traceVar).
		Description("Each attempt is a span below the request's; limits, failovers and retries are its events.").
		Datasource(jaegerRef).Span(15).Height(14).
		WithTarget(jaegerQuery{"query": "$" + traceVar}))
}

// jaegerQuery is a query of Grafana's Jaeger data source, for which its library has no model.
type jaegerQuery map[string]any

// Build completes the query with what every one has.
func (q jaegerQuery) Build() (variants.Dataquery, error) {
	query := variants.UnknownDataquery{"refId": refID(0), "datasource": jaegerRef}
	for key, value := range q {
		query[key] = value
	}
	return query, nil
}
