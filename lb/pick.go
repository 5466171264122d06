package lb

// Pick is one choice and its reason.
type Pick struct {
	Backend *Backend // nil: nobody may be picked, and Reason says why
	Reason  Reason
	Passed  int // backends passed over on the way because they were tried
}

// Reason says why a pick is what it is.
type Reason uint8

const (
	InTurn   Reason = iota // the backend's turn had come
	AllTried               // no backend: this exchange has tried them all
	Empty                  // no backend: the pool has none
)

var reasons = [...]string{InTurn: "in_turn", AllTried: "all_tried", Empty: "empty"}

// String is the reason as one word for logs.
func (r Reason) String() string { return reasons[r] }
