package dashboards

import "pace/telemetry"

// sideLabel is the label that the recording rules add to an outcome: the side that caused it.
const sideLabel = "side"

// side is one who can cause an outcome, as panels and alerts show it.
type side struct {
	telemetry.Side
	title    string
	color    string  // of Grafana's palette
	limit    float64 // share of requests above which an alert fires
	outcomes []telemetry.OutcomeInfo
}

// backendLimit is the share of attempts or requests that a backend may fail.
const backendLimit = 0.05

// sides returns the sides that can make a request fail, in the order in which a graph stacks them.
func sides() []side {
	list := []side{
		{Side: telemetry.ClientSide, title: "client", color: "blue", limit: 0.5},
		{Side: telemetry.LimiterSide, title: "limiter", color: "yellow", limit: 0.1},
		{Side: telemetry.PaceSide, title: "pace", color: "purple", limit: 0.01},
		{Side: telemetry.BackendSide, title: "backend", color: "red", limit: backendLimit},
	}
	for i := range list {
		list[i].outcomes = outcomesOf(list[i].Side)
	}
	return list
}

// outcomesOf returns the outcomes of a side. Unset is one of pace's: it is a bug, but has a counter.
func outcomesOf(s telemetry.Side) (list []telemetry.OutcomeInfo) {
	for _, o := range append(telemetry.Outcomes(), *telemetry.Unset.Info()) {
		if o.Side == s {
			list = append(list, o)
		}
	}
	return list
}
