package telemetry

// Event is a span event of a request. There is exactly one for each increment of the counter of the same thing.
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
	}
}

// Describe returns the names and the meanings of the details.
func Describe[T any](details []Detail[T]) (all []Described) {
	for _, d := range details {
		all = append(all, Described{d.Name, d.Doc})
	}
	return all
}
