package dashboards

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"pace/telemetry"
	"pace/telemetry/metrics"
)

// The limits above which alerts fire. They suit a service that people wait for. Users who need other
// limits change them in the generated file.
const (
	slow       = 1.0  // p99, in seconds
	stormy     = 0.05 // share of attempts that fail over
	unanswered = 0.5  // share of a backend's attempts without a response
	turnedAway = 0.1  // share of requests, for each reason
	flapping   = 3    // times that a backend is let in again within 15 minutes
)

// The severities: a critical alert wakes people.
const (
	critical = "critical"
	warning  = "warning"
)

// alerts returns the alerts for a pace with these routes; without any, for every pace. Each says what is wrong,
// what the usual cause is, and what to do.
func alerts(routes []Route) []rule {
	list := []rule{down()}
	for _, s := range sides() {
		if s.Side != telemetry.LimiterSide { // what a limiter rejects is in rejections
			list = append(list, spoiled(s))
		}
	}
	return append(list, latency(routes), storm(), unanswering(), noBackend(), budgetExhausted(), comesAndGoes(), rejections(), notReloaded(), certificateExpires(), certificateExpiresSoon(), certificateRefused(), acmeFails(),
		dropped("PaceSpansDropped", metrics.SpansDropped.Name, "spans are being dropped: traces are incomplete",
			"the collector is down or slower than the spans come (reason {{ $labels.reason }})",
			"look at the collector and at tracing.endpoint; raise OTEL_BSP_MAX_QUEUE_SIZE, or lower tracing.sample_ratio"),
		dropped("PaceLogRecordsDropped", metrics.LogRecordsDropped.Name, "access lines do not reach the collector",
			"the collector is down or slower than the lines come (reason {{ $labels.reason }})",
			"look at the collector; raise OTEL_BLRP_MAX_QUEUE_SIZE; pace's own log has every line"),
		dropped("PaceLogDropped", metrics.LogDropped.Name, "log lines are being dropped",
			"the disk of log.file is full, or the reader of standard error is too slow (reason {{ $labels.reason }})",
			"free the disk, or fix the reader of the log"),
	)
}

// alert makes a rule; its annotations may use {{ $labels.NAME }} and {{ $value }}.
func alert(name, expr string, holds time.Duration, severity, summary, cause, remedy string) rule {
	r := rule{
		Alert: name, Expr: expr, Labels: []pair{{"severity", severity}},
		Annotations: []pair{{"summary", summary}, {"cause", cause}, {"remedy", remedy}},
	}
	if holds > 0 {
		r.For = fmt.Sprintf("%dm", int(holds.Minutes()))
	}
	return r
}

// down watches jobs called pace, and every target that was a pace within the last day: the metrics that
// it had then reveal a pace that a job of another name scrapes.
func down() rule {
	return alert("PaceDown",
		fmt.Sprintf(`up{job="pace"} == 0 or (up == 0 and on (%s, %s) last_over_time(%s[1d]))`, job, instance, metrics.BuildInfo.Name),
		time.Minute, critical,
		"{{ $labels.instance }} does not answer Prometheus",
		"pace is not running, its admin listener is closed to Prometheus, or the machine is gone",
		"look at its log; request /livez and /readyz on admin.listen; start pace")
}

// spoiled fires when a side causes too many requests to fail. It fires only after the condition has held
// as long as its window, so that a single failure among few requests does not fire it.
func spoiled(s side) rule {
	names := map[telemetry.Side]string{telemetry.BackendSide: "PaceBackendErrors", telemetry.PaceSide: "PaceOwnErrors", telemetry.ClientSide: "PaceClientErrors"}
	severity := critical
	if s.Side == telemetry.ClientSide {
		severity = warning
	}
	return alert(names[s.Side],
		fmt.Sprintf("%s{%s} > %v", recordedShares, is(sideLabel, string(s.Side)), s.limit),
		5*time.Minute, severity,
		fmt.Sprintf("{{ $value | humanizePercentage }} of requests to {{ $labels.job }} go wrong on the %s side", s.title),
		worst(s, func(o telemetry.OutcomeInfo) string { return o.Cause }),
		worst(s, func(o telemetry.OutcomeInfo) string { return o.Remedy }))
}

// worst returns a template whose text is about the side's most frequent outcome at the moment.
func worst(s side, text func(telemetry.OutcomeInfo) string) string {
	return fmt.Sprintf("{{ with printf `topk(1, %s{job=%%q,%s})` $labels.job | query }}{{ with . | first | label %q }}{{ . }}: %s{{ end }}{{ end }}",
		recordedOutcomes, is(sideLabel, string(s.Side)), metrics.Outcome.Name, about(".", s.outcomes, text))
}

// about returns a template that chooses the text of the outcome whose word the expression yields.
func about(expr string, outcomes []telemetry.OutcomeInfo, text func(telemetry.OutcomeInfo) string) string {
	var b strings.Builder
	for i, o := range outcomes {
		fmt.Fprintf(&b, "{{ %s eq %s %q }}%s", [2]string{"if", "else if"}[min(i, 1)], expr, o.Word, text(o))
	}
	return b.String() + "{{ end }}"
}

// latency fires above the limit of a route, or above one that suits a service that people wait for.
func latency(routes []Route) rule {
	var each []string
	for _, r := range routes {
		if r.Slow > 0 {
			each = append(each, fmt.Sprintf("%s{%s} > %v", recordedP99, is(metrics.RouteName.Name, r.Name), r.Slow.Seconds()))
		}
	}
	expr := cmp.Or(strings.Join(each, " or "), fmt.Sprintf("%s > %v", recordedP99, slow))
	return alert("PaceSlow",
		expr,
		10*time.Minute, warning,
		"1 of 100 requests to {{ $labels.job }} on route {{ $labels.pace_route }} takes longer than {{ $value | humanizeDuration }}",
		"a backend is slow, or clients read their responses slowly",
		"compare p99 by backend in the dashboard; follow a dot of the duration graph to its trace, and see which span is long")
}

func storm() rule {
	return alert("PaceFailoverStorm",
		fmt.Sprintf("%s / %s > %v",
			inRules.rateBy(by(job, metrics.Upstream.Name), metrics.Failovers.Name),
			inRules.rateBy(by(job, metrics.Upstream.Name), attempts), stormy),
		5*time.Minute, warning,
		"{{ $value | humanizePercentage }} of attempts at upstream {{ $labels.pace_upstream }} of {{ $labels.job }} fail and go elsewhere",
		"a backend of the upstream fails; the others carry its share, and clients wait longer",
		"see failovers by reason and the table of backends in the dashboard; fix that backend, or remove it from the configuration")
}

func unanswering() rule {
	return alert("PaceBackendNotAnswering",
		fmt.Sprintf("%s > %v", recordedUnanswered, unanswered),
		2*time.Minute, critical,
		"backend {{ $labels.server_address }}:{{ $labels.server_port }} of {{ $labels.job }} leaves {{ $value | humanizePercentage }} of attempts without a response",
		"it is down, unreachable, overloaded, or does not speak HTTP",
		"see its attempts by error in the dashboard; start it, or remove it from the configuration")
}

// noBackend looks at each instance: one may reach a backend that another one does not.
func noBackend() rule {
	return alert("PaceNoBackend",
		fmt.Sprintf("%s == 0", aggregate("max", by(job, instance, metrics.Upstream.Name), metrics.BackendUp.Name)),
		time.Minute, critical,
		"{{ $labels.instance }}: no backend of upstream {{ $labels.pace_upstream }} may be picked",
		"each of them is ejected, unhealthy or drained; requests go to all that are not drained, since there are no better ones",
		`see the lines "backend state" in its log, or GET /api/v1/upstreams, for the reason of each; fix the backends, or undrain one`)
}

func budgetExhausted() rule {
	return alert("PaceRetryBudgetExhausted",
		fmt.Sprintf("%s > 0", sumBy(by(job, metrics.Upstream.Name), fmt.Sprintf("increase(%s[5m])", metrics.BudgetExhausted.Name))),
		2*time.Minute, warning,
		"{{ $value | humanize }} requests to upstream {{ $labels.pace_upstream }} of {{ $labels.job }} failed in 5 minutes, because the budget allowed no further attempt",
		"so many attempts fail that to repeat them all would add to the load",
		"see failovers by reason and the states of backends in the dashboard, and fix the backends; raise the upstream's retry.budget only if they bear the load")
}

// comesAndGoes counts how often a backend is let in. One that is dead is ejected again and again, and never let in. The
// instances are not added up, because all of them see a backend that restarts once.
func comesAndGoes() rule {
	labels := append(by(job, metrics.Upstream.Name), backend...)
	return alert("PaceBackendFlapping",
		fmt.Sprintf("%s > %v", aggregate("max", labels, fmt.Sprintf("increase(%s[15m])", metrics.BackendTransitions.Name+"{"+is(metrics.To.Name, "healthy")+"}")), flapping),
		0, warning,
		"backend {{ $labels.server_address }}:{{ $labels.server_port }} of upstream {{ $labels.pace_upstream }} of {{ $labels.job }} comes and goes: it was let in again {{ $value | humanize }} times in 15 minutes",
		"it works for a while and then fails, often because of its load, or its checks pass and its requests fail",
		`see the lines "backend state" in the log for the reasons; fix it, drain it, or give it a slow_start`)
}

func rejections() rule {
	return alert("PaceRejections",
		fmt.Sprintf("%s / on (%s) group_left () %s > %v",
			inRules.rateBy(by(job, metrics.Reason.Name), metrics.Rejections.Name), job, recordedRequests, turnedAway),
		10*time.Minute, warning,
		"{{ $value | humanizePercentage }} of requests to {{ $labels.job }} are turned away: {{ $labels.reason }}",
		about("$labels."+metrics.Reason.Name, telemetry.Rejections(), func(o telemetry.OutcomeInfo) string { return o.Cause }),
		about("$labels."+metrics.Reason.Name, telemetry.Rejections(), func(o telemetry.OutcomeInfo) string { return o.Remedy }))
}

// notReloaded fires while pace runs with an older configuration than the file, because it refused the last
// reload.
func notReloaded() rule {
	return alert("PaceConfigNotReloaded",
		metrics.ConfigSuccessful.Name+" == 0",
		5*time.Minute, warning,
		"{{ $labels.instance }} runs with an older configuration: the last reload was refused",
		"the configuration has a fault, or changes what needs a restart",
		`see the line "reload refused" in its log, or run pace check on the file; fix the file and reload, or restart pace`)
}

// The limits of what is left of a certificate's time, in days. What renews it has usually done so a month before.
const (
	renewalFailed = 14
	renewNow      = 3
)

// certificateExpires leaves time to find out why nothing renews the certificate.
func certificateExpires() rule {
	return expiry("PaceCertificateExpires", renewalFailed, warning)
}

// certificateExpiresSoon wakes somebody.
func certificateExpiresSoon() rule {
	return expiry("PaceCertificateExpiresSoon", renewNow, critical)
}

func expiry(name string, days int, severity string) rule {
	return alert(name,
		fmt.Sprintf("%s - time() < %d * 86400", metrics.CertificateExpiry.Name, days),
		10*time.Minute, severity,
		"{{ $labels.instance }}: the certificate {{ $labels.certificate }} expires in {{ $value | humanizeDuration }}; clients refuse it then",
		"what renews it has failed, or nothing does",
		"renew it and replace its files, which pace reads again by itself; for a name of [acme], see its log")
}

// certificateRefused fires when the files of a certificate have changed and cannot be used.
func certificateRefused() rule {
	return alert("PaceCertificateRefused",
		fmt.Sprintf("%s > 0", sumBy(by(job, instance, metrics.Certificate.Name), fmt.Sprintf("increase(%s[1h])", metrics.CertificateReloadFailures.Name))),
		0, warning,
		"{{ $labels.instance }}: the new files of the certificate {{ $labels.certificate }} cannot be used; the old certificate stays in force",
		"the key is not that of the certificate, or a file is cut short or cannot be read",
		`see the line "certificate's files have changed" in its log; replace both files by a certificate and its own key`)
}

// acmeFails fires when pace cannot get or renew a certificate itself, as long as that lasts: it tries at least once an
// hour. A single failure is nothing to look after.
func acmeFails() rule {
	return alert("PaceACMEFails",
		fmt.Sprintf("%s > 1", sumBy(by(job, instance), fmt.Sprintf("increase(%s[3h])", metrics.ACMEFailures.Name))),
		0, warning,
		"{{ $labels.instance }}: pace cannot get or renew a certificate by ACME; the certificate in force, if there is one, serves until it expires",
		"pace cannot reach the certificate authority, or the authority refuses, or it cannot reach pace under the name of the certificate",
		`see the lines "certificate not renewed" and "certificate not issued" in its log, which say why; the name must resolve to pace, at port 443 or 80`)
}

// dropped fires at the first drop and ends 10 minutes after the last one.
func dropped(name, metric, summary, cause, remedy string) rule {
	return alert(name,
		fmt.Sprintf("%s > 0", sumBy(by(job, instance, metrics.Reason.Name), fmt.Sprintf("increase(%s[10m])", metric))),
		0, warning, "{{ $labels.instance }}: "+summary, cause, remedy)
}
