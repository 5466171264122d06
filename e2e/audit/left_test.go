package audit

import "strings"

// leftIn is the phases in which pace may have seen the client leave, by its script; none if it did not.
// A backend has what it waits for a moment before pace knows that it is sent, and whether pace waited for
// more of a response or was handing on what had come, the client cannot know.
func (x *exchange) leftIn() []string {
	switch outcome, _ := x.ends(); {
	case outcome == "client_aborted":
		return []string{"receive", "deliver"}
	case outcome != "client_gone":
		return nil
	case x.unread: // its upload
		return []string{"send", "read_request"}
	}
	return []string{"send", "wait"}
}

// before says of a phase whether a response had begun.
func before(phase string) string {
	if phase == "receive" || phase == "deliver" {
		return "in the response"
	}
	return "before the response"
}

func leftBy(counts map[string]float64) table {
	folded := table{}
	for phase, n := range counts {
		folded[before(phase)] += n
	}
	return folded
}

// sides are whose doing each outcome is, by interface.md; all others are the backend's.
var sides = map[string]string{
	"ok": "none", "upgraded": "none", "responded": "none", "rate_limited": "limiter", "draining": "pace", "drain_timeout": "pace", "exhausted": "pace", "internal_error": "pace",
	"client_error": "client", "client_gone": "client", "client_aborted": "client", "request_timeout": "client", "bad_request": "client", "too_large": "client",
}

// bySide counts requests by outcome, side and route.
func (tr *truth) bySide() table {
	folded := table{}
	for k, n := range tr.requests.fold(2, 4) {
		outcome, route, _ := strings.Cut(k, " ")
		side := sides[outcome]
		if side == "" {
			side = "backend"
		}
		folded[key(outcome, side, route)] += n
	}
	return folded
}
