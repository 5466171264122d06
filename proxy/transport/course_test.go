package transport

import (
	"errors"
	"slices"
	"testing"
)

func TestCourse_ReportsAPhaseThatBeginsUntilTheFinalHeader(t *testing.T) {
	var got []Phase
	var c Course
	c.Begin(&Request{OnPhase: func(p Phase) { got = append(got, p) }})
	c.Enter(Connect)
	c.Enter(Connect)
	c.Enter(Wait)
	c.RepeatPhase()
	c.Final = true
	c.Enter(Send)
	c.RepeatPhase()
	if want := []Phase{Connect, Wait, Wait}; !slices.Equal(got, want) {
		t.Errorf("reported %v, want %v", got, want)
	}
}

func TestCourse_ReportsNoPhaseWhenTheRequestWasTakenBack(t *testing.T) {
	var c Course
	c.Begin(&Request{OnPhase: func(p Phase) { t.Errorf("reported %v", p) }})
	c.EndLocked()
	c.Enter(Connect)
	c.RepeatPhase()
}

func TestCourse_PassesAPanicOnOnce(t *testing.T) {
	bug := errors.New("bug")
	var c Course
	for range 2 { // it serves one request after the other
		c.Begin(new(Request))
		c.Cause = &Error{Kind: Panicked, Err: bug}
		if first, second := c.Bug(), c.Bug(); first != bug || second != nil {
			t.Errorf("got %v and then %v, want %v once", first, second, bug)
		}
	}
}
