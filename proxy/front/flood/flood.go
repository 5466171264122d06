// Package flood says what makes a flood on a client's connection, whatever its protocol is, and counts in the window that
// it is about.
package flood

// Seconds is how many seconds count.
const Seconds = 10

// MaxResets is how many requests on one connection may end before their time within [Seconds]: by the client, or because
// it broke a rule. One more is a flood.
const MaxResets = 1_000

// Window counts what has happened within the last [Seconds]. It forgets whole seconds, so it may look back by one
// second less. The zero value is ready.
type Window struct {
	slots  [Seconds]uint32
	sum    uint32 // of slots
	newest int64  // the second of the newest slot
}

// Add counts n more in a second, and returns how many there are. No second may come before an earlier one.
func (w *Window) Add(second int64, n uint32) uint32 {
	w.newest = max(w.newest, second-Seconds)
	for w.newest < second {
		w.newest++
		slot := &w.slots[w.newest%Seconds]
		w.sum -= *slot
		*slot = 0
	}
	w.slots[second%Seconds] += n
	w.sum += n
	return w.sum
}
