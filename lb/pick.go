package lb

// Pick is one choice and its reason.
type Pick struct {
	Backend *Backend // nil: there is none to pick, and Reason says why
	Reason  Reason
	Passed  int // backends that were passed over because this exchange had tried them
}

// Reason says why this backend was picked, or none.
type Reason uint8

const (
	InTurn   Reason = iota // it was the backend's turn
	AllTried               // no backend: this exchange has tried them all
	Empty                  // no backend: the pool has none
)

var reasons = [...]string{InTurn: "in_turn", AllTried: "all_tried", Empty: "empty"}

// String returns the reason as one word for logs.
func (r Reason) String() string { return reasons[r] }
