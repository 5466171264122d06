package dashboards

import "pace/telemetry"

// sideLabel is the label that the recording rules add to an outcome: whose doing it is.
const sideLabel = "side"

// side is one answer to "whose fault is it?".
type side struct {
	telemetry.Side
	title    string
	color    string  // of Grafana's palette
	limit    float64 // share of requests above which an alert fires
	outcomes []telemetry.OutcomeInfo
}

// faults returns the sides that can be at fault, in the order in which a graph stacks them.
func faults() []side {
	list := []side{
		{Side: telemetry.ClientSide, title: "client", color: "blue", limit: 0.5},
		{Side: telemetry.LimiterSide, title: "limiter", color: "yellow", limit: 0.1},
		{Side: telemetry.PaceSide, title: "pace", color: "purple", limit: 0.01},
		{Side: telemetry.BackendSide, title: "backend", color: "red", limit: 0.05},
	}
	for i := range list {
		list[i].outcomes = outcomesOf(list[i].Side)
	}
	return list
}

// outcomesOf returns the outcomes of a side, Unset among pace's: it is a bug, but counts as one.
func outcomesOf(s telemetry.Side) (list []telemetry.OutcomeInfo) {
	for _, o := range append(telemetry.Outcomes(), *telemetry.Unset.Info()) {
		if o.Side == s {
			list = append(list, o)
		}
	}
	return list
}
