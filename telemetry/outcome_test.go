package telemetry

import (
	"slices"
	"strings"
	"testing"
)

// Every outcome with a status of its own is a response of pace's, but for a stream and for a client
// that is not there to read it.
func TestOutcomes_ThatPaceSendsHaveASentence(t *testing.T) {
	for _, o := range Outcomes() {
		sent := o.Status != 0 && !slices.Contains([]string{Upgraded.String(), ClientGone.String()}, o.Word)
		if sent != (o.Sentence != "") {
			t.Errorf("%s is sent by pace itself: %v; its sentence is %q", o.Word, sent, o.Sentence)
		}
		if sent && (!strings.HasSuffix(o.Sentence, ".") || strings.Contains(o.Sentence, ". ") || strings.ContainsAny(o.Sentence, "<>&\"\n")) {
			t.Errorf("%s: %q is not one plain sentence", o.Word, o.Sentence)
		}
	}
}

// An outcome without one of the columns that decide something, or without its words, is not finished.
func TestOutcomes_HaveEveryColumn(t *testing.T) {
	sides := []Side{NoSide, ClientSide, LimiterSide, PaceSide, BackendSide}
	for i, o := range outcomes {
		for column, missing := range map[string]bool{
			"word": o.Word == "", "side": !slices.Contains(sides, o.Side), "span status": o.Span == 0, "error type": o.ErrorType == 0,
			"rejection": o.Rejection == 0, "keep": o.Keep == 0, "failover": o.Failover == 0, "when": o.When == "", "cause": o.Cause == "", "remedy": o.Remedy == "",
		} {
			if missing {
				t.Errorf("outcome %d (%q) has no %s", i, o.Word, column)
			}
		}
	}
}

// Which traces are kept follows from the other columns, but for what nobody sees but a client.
func TestOutcomes_AreKeptByTheirSide(t *testing.T) {
	for o := range OutcomeCount {
		info, want := o.Info(), Ordinary
		switch {
		case info.Side == BackendSide || info.Side == PaceSide:
			want = KeepError
		case info.Rejection == Rejected || o == RequestTimeout:
			want = KeepRejected
		case o == ClientGone || o == ClientAborted:
			want = KeepClientLeft
		}
		if info.Keep != want {
			t.Errorf("%s is kept as %q, want %q", o, info.Keep, want)
		}
	}
}
