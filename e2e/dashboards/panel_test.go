package dashboards

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// overview is the dashboard's file, as far as it is run here.
type overview struct {
	Panels      []panel
	Annotations struct {
		List []struct{ Name, Expr string }
	}
	Templating struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
}

type panel struct {
	Title   string
	Targets []struct {
		Expr, LegendFormat string
		Exemplar           bool
		Datasource         struct{ Type string }

		// Of Jaeger's.
		QueryType, Service, Tags, Query string
		Limit                           int
	}
}

func readOverview(t *testing.T, file string) overview {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var o overview
	if err := json.Unmarshal(raw, &o); err != nil {
		t.Fatal(err)
	}
	return o
}

// outcomes are the words that one can look for in Jaeger.
func (o overview) outcomes() string {
	for _, v := range o.Templating.List {
		if v.Name == "outcome" {
			return v.Query.(string)
		}
	}
	return ""
}

// ask is a query to Prometheus, and the place in the dashboard that it comes from.
type ask struct{ where, expr string }

// asks returns what the dashboard asks Prometheus, with its variables as Grafana fills them in.
func (o overview) asks(t *testing.T) (list []ask) {
	t.Helper()
	for _, p := range o.Panels {
		for _, target := range p.Targets {
			if target.Datasource.Type == "prometheus" {
				list = append(list, ask{p.Title + " / " + target.LegendFormat, target.Expr})
			}
		}
	}
	for _, a := range o.Annotations.List {
		list = append(list, ask{"annotation / " + a.Name, a.Expr})
	}
	for _, v := range o.Templating.List {
		if v.Type == "query" {
			series, label, ok := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(v.Query.(string), "label_values("), ")"), ", ")
			if !ok {
				t.Errorf("variable %s asks for %v, which is no label_values(SERIES, LABEL)", v.Name, v.Query)
			}
			list = append(list, ask{"variable / " + v.Name, "count by (" + label + ") (" + series + ")"})
		}
	}
	fill := strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m", "$job", ".*", "$instance", ".*", "$pace_route", ".*")
	for i := range list {
		list[i].expr = fill.Replace(list[i].expr)
		if strings.Contains(list[i].expr, "$") {
			t.Errorf("%s: a variable is left in %s", list[i].where, list[i].expr)
		}
	}
	return list
}
