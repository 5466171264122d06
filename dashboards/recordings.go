package dashboards

import (
	"fmt"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// The recorded series: the alerts read them, and they are a summary that is cheap to keep for long.
const (
	recordedOutcomes   = "job_outcome:pace_requests:rate5m" // with the label side
	recordedRequests   = "job:pace_requests:rate5m"
	recordedShares     = "job_side:pace_requests:share5m"
	recordedP99        = "job_route:pace_request_duration_seconds:p99_5m"
	recordedAttempts   = "job_backend:pace_attempts:rate5m"
	recordedUnanswered = "job_backend:pace_attempts_unanswered:share5m"
)

// recordings returns the recording rules. They add up the instances of a job, because an alert is about
// the service.
func recordings() (list []rule) {
	for _, s := range append([]side{{Side: telemetry.NoSide, outcomes: outcomesOf(telemetry.NoSide)}}, sides()...) {
		list = append(list, rule{
			Record: recordedOutcomes,
			Expr:   inRules.rateBy(by(job, metrics.Outcome.Name), requests, is(metrics.Side.Name, string(s.Side))),
			Labels: []pair{{sideLabel, string(s.Side)}},
		})
	}
	perBackend := append(by(job), backend...)
	return append(list,
		rule{Record: recordedRequests, Expr: sumBy(by(job), recordedOutcomes)},
		rule{Record: recordedShares, Expr: fmt.Sprintf("%s / on (%s) group_left () %s", sumBy(by(job, sideLabel), recordedOutcomes), job, recordedRequests)},
		rule{Record: recordedP99, Expr: inRules.quantileBy(0.99, by(job, metrics.Route.Name, metrics.RouteName.Name), metrics.ServerDuration.Name)},
		rule{Record: recordedAttempts, Expr: inRules.rateBy(perBackend, attempts)},
		rule{Record: recordedUnanswered, Expr: inRules.rateBy(perBackend, attempts, oneOf(metrics.ErrorType.Name, telemetry.BackendFailures())) + " / " + recordedAttempts},
	)
}
