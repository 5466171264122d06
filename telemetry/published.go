package telemetry

import "slices"

// What the docs are made of, besides [Instruments], [Facts] and [Outcomes].

// Detail is an attribute that an attempt's span or an event has, and what it means.
type Detail struct{ Name, Doc string }

// Event is what the span of a request says when the counter of the same thing is incremented.
type Event struct {
	Name, Doc string
	Details   []Detail
}

// AttemptDetails returns the attributes of an attempt's span.
func AttemptDetails() []Detail { return described(attemptDetails) }

// Events returns the events that the span of a request can have.
func Events() []Event {
	return []Event{
		{eventLimited, "A limiter said no.", described(limitedDetails)},
		{eventFailover, "An attempt failed, and another backend is asked.", described(failoverDetails)},
		{eventRetry, "A pooled connection died, and the same backend is asked again on a new one.", described(retryDetails)},
	}
}

func described[T any](details []detail[T]) (all []Detail) {
	for _, d := range details {
		all = append(all, Detail{d.name, d.doc})
	}
	return all
}

// Phases returns the words for the phases, in the order in which they are passed.
func Phases() []string { return slices.Clone(phaseWords[:]) }

// Words returns the words that a metric's label can have, nil if the list is not closed.
func Words(metric, label string) []string {
	switch metric + " " + label {
	case MetricFailovers + " " + LabelReason:
		return wordsOf(FailoverReasons())
	case MetricRetries + " " + LabelReason:
		return []string{staleConnection}
	case MetricRejections + " " + LabelReason:
		return wordsOf(Rejections())
	case MetricRefused + " " + LabelReason:
		return refusals[:]
	case MetricConnections + " " + LabelState:
		return []string{"active", "idle"}
	case MetricSpansDropped + " " + LabelReason:
		return []string{queueFull, exportFailed, shutDown}
	case MetricLogDropped + " " + LabelReason:
		return []string{bufferFull, writeFailed}
	case MetricPhaseDuration + " " + LabelPhase:
		return phaseWords[ReadRequest:]
	case MetricStreams + " " + LabelKind, MetricStreamDuration + " " + LabelKind, MetricStreamBytes + " " + LabelKind:
		return streamWords[WebSocket:]
	case MetricStreamDuration + " " + LabelCloseReason:
		return closeWords[ClosedByClient:]
	case MetricStreamBytes + " " + LabelDirection:
		return directions[:]
	case MetricRequests + " " + LabelSide:
		return sides()
	case MetricClientLeft + " " + LabelLeftIn:
		return phaseWords[:]
	case MetricServerDuration + " " + LabelOutcome, MetricRequests + " " + LabelOutcome:
		return wordsOf(Outcomes())
	}
	return nil
}

// sides are those of the outcomes, in the order in which these name them first.
func sides() (words []string) {
	for _, o := range Outcomes() {
		if !slices.Contains(words, string(o.Side)) {
			words = append(words, string(o.Side))
		}
	}
	return words
}

func wordsOf(list []OutcomeInfo) (all []string) {
	for _, o := range list {
		all = append(all, o.Word)
	}
	return all
}
