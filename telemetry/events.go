package telemetry

// Event is a span event of a request. Where a counter counts the same thing, there is exactly one for each increment.
type Event struct {
	Name, Doc string
	Details   []Described
}

// Described is the name and the meaning of a detail, for the docs.
type Described struct{ Name, Doc string }

// Events returns the events that the span of a request can have.
func Events() []Event {
	return []Event{
		{EventLimited, "A rate limit rejected the request.", Describe(LimitedDetails)},
		{EventFailover, "An attempt failed, and pace asks another backend.", Describe(FailoverDetails)},
		{EventRetry, "A pooled connection died, and pace asks the same backend again on a new one.", Describe(RetryDetails)},
		{EventMirrored, "A copy of the request was sent to another upstream; a span of its own, in a trace of its own, has a link to this one.", Describe(MirroredDetails)},
	}
}

// Describe returns the names and the meanings of the details.
func Describe[T any](details []Detail[T]) (all []Described) {
	for _, d := range details {
		all = append(all, Described{d.Name, d.Doc})
	}
	return all
}
