package dashboards

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pace/telemetry"
)

func TestAlerts_SaySummaryCauseRemedy(t *testing.T) {
	for _, r := range alerts(nil) {
		var names []string
		for _, a := range r.Annotations {
			names = append(names, a.Name)
			if a.Value == "" {
				t.Errorf("%s: its %s is empty", r.Alert, a.Name)
			}
		}
		if got := strings.Join(names, " "); got != "summary cause remedy" {
			t.Errorf("%s: got %s, want summary cause remedy", r.Alert, got)
		}
	}
}

// promtool runs the cases in e2e/dashboards. This test checks that no alert lacks its cases.
func TestAlerts_HaveCasesOfFiringAndNot(t *testing.T) {
	silent, fires := regexp.MustCompile(`exp_alerts: \[\]`), regexp.MustCompile(`exp_alerts:\n`)
	for _, r := range alerts(nil) {
		cases, err := os.ReadFile("testdata/" + r.Alert + ".test.yml")
		if err != nil {
			t.Error(err)
			continue
		}
		if !silent.Match(cases) || !fires.Match(cases) || !strings.Contains(string(cases), "alertname: "+r.Alert) {
			t.Errorf("%s: its cases do not show both firing and not firing", r.Alert)
		}
	}
}

// Every outcome belongs to one side. No alert would cover an outcome without a side.
func TestRecordings_KnowEverySide(t *testing.T) {
	var all strings.Builder
	for _, r := range recordings() {
		if r.Record == recordedOutcomes {
			all.WriteString(r.Expr)
		}
	}
	for _, o := range append(telemetry.Outcomes(), *telemetry.Unset.Info()) {
		if n := strings.Count(all.String(), `pace_side="`+string(o.Side)+`"`); n != 1 {
			t.Errorf("the side of %s, %s, is in %d rules, want 1", o.Word, o.Side, n)
		}
	}
}
