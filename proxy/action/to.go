package action

import "pace/proxy/upstream"

// To returns the action that sends every request to one upstream.
func To(u *upstream.Upstream) Action { return to{u} }

type to struct{ upstream *upstream.Upstream }

func (t to) Choose(Request) Choice { return Choice{Upstream: t.upstream} }
