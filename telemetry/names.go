package telemetry

// The metrics' Prometheus names. Whoever writes an expression takes them from here.
const (
	MetricOlderDuration  = "http_requests_duration_seconds"
	MetricServerDuration = "http_server_request_duration_seconds"
	MetricClientDuration = "http_client_request_duration_seconds"
	MetricActiveRequests = "http_server_active_requests"
	MetricFailovers      = "pace_failovers_total"
	MetricRetries        = "pace_retries_total"
	MetricRequests       = "pace_requests_total"
	MetricClientLeft     = "pace_client_left_total"
	MetricRejections     = "pace_rejections_total"
	MetricRefused        = "pace_refused_total"
	MetricConnections    = "pace_connections"
	MetricLimiterKeys    = "pace_limiter_keys"
	MetricLimiterEvicted = "pace_limiter_evicted_total"
	MetricSpansDropped   = "pace_spans_dropped_total"
	MetricLogDropped     = "pace_log_dropped_total"
	MetricPhaseDuration  = "pace_phase_duration_seconds"
	MetricOverhead       = "pace_overhead_seconds"
	MetricStreams        = "pace_streams"
	MetricStreamDuration = "pace_stream_duration_seconds"
	MetricStreamBytes    = "pace_stream_io_bytes_total"
	MetricBuildInfo      = "pace_build_info"
)

// The metrics' labels, as Prometheus spells them.
const (
	LabelMethod        = "http_request_method"
	LabelScheme        = "url_scheme"
	LabelStatus        = "http_response_status_code"
	LabelRoute         = "http_route"
	LabelOutcome       = "pace_outcome"
	LabelSide          = "pace_side"
	LabelLeftIn        = "left_in"
	LabelErrorType     = "error_type"
	LabelServerAddress = "server_address"
	LabelServerPort    = "server_port"
	LabelUpstream      = "pace_upstream"
	LabelReason        = "reason"
	LabelState         = "state"
	LabelPolicy        = "policy"
	LabelPhase         = "phase"
	LabelKind          = "kind"
	LabelCloseReason   = "pace_close_reason"
	LabelDirection     = "direction"
	LabelVersion       = "version"
	LabelGoVersion     = "goversion"
)

// FailoverReasons returns how an attempt fails without an answer: the outcomes that are reasons of
// a failover and error types of an attempt.
func FailoverReasons() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover != NoFailover })
}

// BackendFailures returns the reasons of a failover that count against the backend. A name that does
// not resolve, or what pace lacks, says nothing of the backend.
func BackendFailures() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Failover == FailoverCounts })
}

// Rejections returns the outcomes that are reasons of a rejection.
func Rejections() []OutcomeInfo {
	return outcomesWhere(func(o *OutcomeInfo) bool { return o.Rejection == Rejects })
}

func outcomesWhere(is func(*OutcomeInfo) bool) (list []OutcomeInfo) {
	for i := range outcomes {
		if o := &outcomes[i]; is(o) {
			list = append(list, *o)
		}
	}
	return list
}
