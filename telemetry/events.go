package telemetry

// Event is what the span of a request says when the counter of the same thing is incremented.
type Event struct {
	Name, Doc string
	Details   []Described
}

// Described is a detail as the docs have it.
type Described struct{ Name, Doc string }

// Events returns the events that the span of a request can have.
func Events() []Event {
	return []Event{
		{EventLimited, "A limiter said no.", Describe(LimitedDetails)},
		{EventFailover, "An attempt failed, and another backend is asked.", Describe(FailoverDetails)},
		{EventRetry, "A pooled connection died, and the same backend is asked again on a new one.", Describe(RetryDetails)},
	}
}

// Describe returns the details as the docs have them.
func Describe[T any](details []Detail[T]) (all []Described) {
	for _, d := range details {
		all = append(all, Described{d.Name, d.Doc})
	}
	return all
}
