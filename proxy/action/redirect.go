package action

import "pace/proxy/route"

// Redirect returns the action that sends clients to a URL, which may use the wildcards of the route's pattern.
func Redirect(to *route.Redirect, p *route.Pattern, status int) Action {
	return redirect{to, p, status}
}

type redirect struct {
	to      *route.Redirect
	pattern *route.Pattern
	status  int
}

func (r redirect) Choose(q Request) Choice {
	return Choice{Response: &Response{Status: r.status, Location: r.to.Location(r.pattern, q.Target)}}
}
