package docs

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// TestStages: test.sh says what each of its stages does and how long it takes, before it begins, and
// the pages name no stage that it does not have.
func TestStages(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("no bash")
	}
	script := func(args ...string) (string, int) {
		cmd := exec.CommandContext(t.Context(), "bash", append([]string{"scripts/test.sh"}, args...)...)
		cmd.Dir = root
		out, _ := cmd.CombinedOutput()
		return string(out), cmd.ProcessState.ExitCode()
	}
	help, code := script("--help")
	if code != 0 {
		t.Fatalf("--help exits with %d:\n%s", code, help)
	}
	stages := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^  (\w+) +\d+ s   \S.*$`).FindAllStringSubmatch(help, -1) {
		stages[m[1]] = true
	}
	if len(stages) < 11 || !regexp.MustCompile(`(?m)^  in all +\d+ s   about \d+ min$`).MatchString(help) {
		t.Errorf("--help names %d stages with their times:\n%s", len(stages), help)
	}
	for _, p := range pages(t) {
		for _, m := range regexp.MustCompile(`(?m)scripts/test\.sh((?: [a-z]\w+)+)`).FindAllStringSubmatch(p.code(), -1) {
			for stage := range strings.FieldsSeq(m[1]) {
				if !stages[stage] {
					t.Errorf("%s: scripts/test.sh has no stage %s", p.name, stage)
				}
			}
		}
	}
	if out, code := script("nope"); code != 2 || !strings.Contains(out, "--help") {
		t.Errorf("an unknown stage exits with %d and says %q; want 2, and where help is", code, out)
	}
}
