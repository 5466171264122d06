package mix

import "pace/e2e/port"

// Which backends are ejected depends on the order in which attempts end, and nobody but pace knows that. But log,
// metrics and spans must say the same of each.

// changes are the changes of state of backends as the log has them, by port and new state.
func (ac *account) changes() Table {
	all := Table{}
	for _, line := range ac.Lines("backend state") {
		all[Key(port.Of(line.Text("backend")), line.Text("to"))]++
	}
	return all
}

// ejections are those that requests have caused, as the log has them, by backend and reason.
func (ac *account) ejections() Table {
	all := Table{}
	for _, line := range ac.Lines("backend state") {
		if line.Text("to") == "ejected" && line.Text("by") == "requests" {
			all[Key(line.Text("backend"), line.Text("reason"))]++
		}
	}
	return all
}
