package dashboards

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pace/e2e/pacetest"
	"pace/e2e/parts"
)

// TestRules_FireAndDoNot runs the cases of dashboards/testdata on the rules that the binary wrote.
func TestRules_FireAndDoNot(t *testing.T) {
	promtool, w := parts.Path(t, "promtool"), writeDashboards(t)
	if out, err := exec.CommandContext(t.Context(), promtool, "check", "rules", w.rules).CombinedOutput(); err != nil {
		t.Fatalf("promtool check rules: %v\n%s", err, out)
	}
	cases := copyCases(t, filepath.Dir(w.rules))
	if len(cases) < 10 {
		t.Fatalf("%d files of cases, want one for each alert", len(cases))
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".test.yml"), func(t *testing.T) {
			out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestRules_CasesCanFail shows that the cases hold the rules: without their limits they fail.
func TestRules_CasesCanFail(t *testing.T) {
	promtool, w := parts.Path(t, "promtool"), writeDashboards(t)
	rules, err := os.ReadFile(w.rules)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]*strings.Replacer{
		"always": strings.NewReplacer(" > 0.", " > 0 * 0.", " > 1\n", " > 0\n", " > 3\n", " >= 0\n", " > 0\n", " >= 0\n", "== 0", "== bool 1", "time() < ", "time() < 9999 * "),
		"never":  strings.NewReplacer(" > 0.", " > 9.", " > 1\n", " > 99\n", " > 3\n", " > 99\n", " > 0\n", " > 99\n", "== 0", "== 2", "time() < ", "time() < -9999 * "),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(w.rules)), []byte(change.Replace(string(rules))), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, file := range copyCases(t, dir) {
			if out, err := exec.CommandContext(t.Context(), promtool, "test", "rules", file).CombinedOutput(); err == nil {
				t.Errorf("alerts that fire %s pass %s\n%s", name, filepath.Base(file), out)
			}
		}
	}
}

// copyCases copies the cases into the folder of the rules, because promtool looks for the rules there.
func copyCases(t *testing.T, dir string) (files []string) {
	t.Helper()
	root, err := pacetest.Root()
	if err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(root, "dashboards", "testdata", "*.test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range found {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(copied, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		files = append(files, copied)
	}
	return files
}
