package mix

import (
	"fmt"
	"slices"
	"strings"
)

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

func leftBy(counts map[string]float64) Table {
	folded := Table{}
	for phase, n := range counts {
		folded[before(phase)] += n
	}
	return folded
}

// sides are whose doing each outcome is, by interface.md; all others are the backend's.
var sides = map[string]string{
	"ok": "none", "upgraded": "none", "responded": "none", "rate_limited": "limiter", "draining": "pace", "drain_timeout": "pace", "exhausted": "pace", "overload": "pace", "internal_error": "pace",
	"client_error": "client", "client_gone": "client", "client_aborted": "client", "request_timeout": "client", "bad_request": "client", "too_large": "client",
}

// bySide counts requests by outcome, side and route.
func (ac *account) bySide() Table {
	folded := Table{}
	for k, n := range ac.requests.fold(2, 4, 5) {
		outcome, route, _ := strings.Cut(k, " ")
		side := sides[outcome]
		if side == "" {
			side = "backend"
		}
		folded[Key(outcome, side, route)] += n
	}
	return folded
}

// levels are those of outcomes that are not at INFO.
var levels = map[string]string{
	"rate_limited": "WARN", "bad_request": "WARN", "too_large": "WARN", "request_timeout": "WARN", "client_gone": "WARN", "client_aborted": "WARN",
	"upstream_error": "ERROR", "draining": "ERROR", "connect_failed": "ERROR", "connect_timeout": "ERROR", "tls_failed": "ERROR", "upstream_timeout": "ERROR",
	"upstream_reset": "ERROR", "upstream_invalid": "ERROR", "upstream_truncated": "ERROR",
}

// failoverReasons are the ways in which an attempt fails so that another may follow.
var failoverReasons = []string{"connect_failed", "connect_timeout", "tls_failed", "dns_failed", "upstream_reset", "upstream_timeout", "upstream_invalid"}

// errorType is the request's error.type.
func (x *exchange) errorType() string {
	switch outcome, status := x.ends(); outcome {
	case "ok", "client_error", "upgraded":
		return ""
	case "upstream_error":
		return fmt.Sprint(status)
	default:
		return outcome
	}
}

// rejected are outcomes of the client's side that pace turned away.
var rejected = []string{"rate_limited", "bad_request", "too_large", "request_timeout"}

// interest is why the exchange is interesting; "" if it is not. It is not sure where there may have been failovers and
// retries that no backend knows of.
func (x *exchange) interest() (reason string, sure bool) {
	failovers, retries := Table{}, Table{}
	x.steps(failovers, retries)
	outcome, _ := x.ends()
	side := sides[outcome]
	sure = len(x.house.unseen) == 0 || x.quiet
	switch {
	case side == "pace", side == "": // the backend's
		return "error", true
	case len(failovers) > 0, x.followed():
		return "failover", sure
	case len(retries) > 0:
		return "retry", sure
	case slices.Contains(rejected, outcome):
		return "rejected", sure
	case x.leftIn() != nil:
		return "client_left", sure
	case x.overdue && x.stream == "":
		return "slow", sure
	}
	return "", sure
}

// followed reports whether the attempt that a backend got is one that followed an attempt that no backend saw. The
// trace was not sampled when the first one was sent, and is when another follows: the backend can tell by the flag.
// That such attempts are as many as the recorded traffic shows is compared in total.
func (x *exchange) followed() bool {
	return x.quiet && len(x.house.unseen) > 0 && len(x.attempts) > 0 && sampledFlag(x.attempts[0].flags)
}

// keptFor is why the exchange's trace is exported although its head was not sampled; "" if it is not, or was.
func (x *exchange) keptFor() string {
	if !x.quiet {
		return ""
	}
	reason, _ := x.interest()
	return reason
}

// keptBy counts the exchanges whose traces are kept, by reason.
func (ac *account) keptBy() Table {
	kept := Table{}
	for _, x := range ac.exchanges {
		if reason := x.keptFor(); reason != "" {
			kept[reason]++
		}
	}
	return kept
}

// exported reports whether the exchange has spans.
func (x *exchange) exported() bool { return !x.quiet || x.keptFor() != "" }
