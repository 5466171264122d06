package lb

import "slices"

// Policy is a way to choose the backend for a first attempt.
type Policy struct {
	Name   string
	Doc    string // one sentence
	choose func(p *Pool, s *snapshot, r Request) Pick
}

// Policies are all policies.
var Policies = []*Policy{RoundRobin, Random, FewestRequests, PeakEWMA, Hash}

// The policies, one file each.
var (
	RoundRobin     = &Policy{"round_robin", "The backends take turns, each as often as its weight says.", (*Pool).inTurn}
	Random         = &Policy{"random", "Each request goes to a backend at random.", (*Pool).random}
	FewestRequests = &Policy{"least_request", "Of two backends at random, the one with fewer requests in flight gets the request.", (*Pool).fewestRequests}
	PeakEWMA       = &Policy{"peak_ewma", "Of two backends at random, the one that is expected to respond sooner gets the request.", (*Pool).peakEWMA}
	Hash           = &Policy{"hash", "Requests with the same key go to the same backend, unless it has too many in flight.", (*Pool).hash}
)

// PolicyNames returns the names of all policies.
func PolicyNames() []string {
	names := make([]string, len(Policies))
	for i, p := range Policies {
		names[i] = p.Name
	}
	return names
}

// PolicyOf returns the policy of this name, or nil.
func PolicyOf(name string) *Policy {
	if i := slices.Index(PolicyNames(), name); i >= 0 {
		return Policies[i]
	}
	return nil
}
